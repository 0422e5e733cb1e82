"""A file of tunings: what was measured, by machine, layer and size, shared by all processes."""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sparse_ovs._after_import import import_what_waits
from sparse_ovs.cache import VARIABLE, cache_folder
from sparse_ovs.formats import replace_file

_FORMAT_VERSION = 1
_told: set[Path] = set()  # folders that could not be written

Entries = dict[str, dict[str, Any]]  # by layer and size


class TuningFile:
    """One JSON file in the cache folder, and one elsewhere that the user may name.

    Args:
        name: of the file.
        check: raises ValueError, TypeError or KeyError for a size and an entry that make no sense.
        variable: of the environment, that names another file with such a record: it is only read,
            and what it says goes before.
    """

    def __init__(
        self, name: str, check: Callable[[str, Any], object], variable: str | None = None
    ) -> None:
        self._name, self._check, self._variable = name, check, variable

    def load(self, machine: str) -> Entries:
        """What the disk knows of a machine; nothing, with a warning, where a file is damaged."""
        found = self._read(self._path()).get(machine, {})
        for layer, sizes in self._given().get(machine, {}).items():
            found.setdefault(layer, {}).update(sizes)
        return found

    def _given(self) -> dict[str, Entries]:
        """What the user's file says."""
        named = os.environ.get(self._variable) if self._variable else None
        if not named:
            return {}
        path = Path(named).expanduser()
        if not path.is_file():
            warnings.warn(
                f"expected tunings in {path}, which {self._variable} names, got no such file",
                RuntimeWarning,
                stacklevel=3,
            )
        return self._read(path)

    def store(self, machine: str, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Adds entries to what the disk knows; warns, once a folder, where it cannot be
        written."""
        folder = cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{Path(self._name).stem}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
                everything = self._read(self._path())
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

    def _read(self, path: Path) -> dict[str, Entries]:
        """By machine; every entry is known to be sound."""
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


import_what_waits(__name__)
