"""A file of tunings: what was measured, by machine, layer and size, shared by all processes."""

from __future__ import annotations

import fcntl
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sparse_ovs.cache import VARIABLE, cache_folder
from sparse_ovs.formats import replace_file

_FORMAT_VERSION = 1
_told: set[Path] = set()  # folders that could not be written

Entries = dict[str, dict[str, Any]]  # by layer and size


class TuningFile:
    """One JSON file in the cache folder.

    Args:
        name: of the file.
        check: raises ValueError, TypeError or KeyError for a size and an entry that make no sense.
    """

    def __init__(self, name: str, check: Callable[[str, Any], object]) -> None:
        self._name, self._check = name, check

    def load(self, machine: str) -> Entries:
        """What the disk knows of a machine; nothing, with a warning, where the file is damaged."""
        return self._read().get(machine, {})

    def store(self, machine: str, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Adds entries to what the disk knows; warns, once a folder, where it cannot be
        written."""
        folder = cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{Path(self._name).stem}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
                everything = self._read()
                mine = everything.setdefault(machine, {})
                for layer, sizes in found.items():
                    mine.setdefault(layer, {}).update(sizes)
                content = {"format_version": _FORMAT_VERSION, "tunings": everything}
                replace_file(self._path(), json.dumps(content, indent=1).encode())
        except OSError as error:
            if folder not in _told:
                _told.add(folder)
                warnings.warn(
                    f"expected {folder} to be writable, got {error}: layers are tuned again next "
                    f"time ({VARIABLE} names another folder)",
                    RuntimeWarning,
                    stacklevel=3,
                )

    def _path(self) -> Path:
        return cache_folder() / self._name

    def _read(self) -> dict[str, Entries]:
        """By machine; every entry is known to be sound."""
        path = self._path()
        try:
            content = json.loads(path.read_bytes())
            if content["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"format version {content['format_version']!r}")
            tunings: dict[str, Entries] = content["tunings"]
            for layers in tunings.values():
                for sizes in layers.values():
                    for size, entry in sizes.items():
                        self._check(size, entry)
        except OSError:
            return {}  # none yet, or not to be read
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            warnings.warn(
                f"expected tunings in {path}, got a damaged or foreign file ({error}): it is "
                "ignored",
                RuntimeWarning,
                stacklevel=3,
            )
            return {}
        return tunings
