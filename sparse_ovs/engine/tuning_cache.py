"""Tunings on disk: what was measured on this CPU with this version, shared by all processes."""

from __future__ import annotations

import fcntl
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparse_ovs import _native
from sparse_ovs.cache import VARIABLE, cache_folder
from sparse_ovs.formats import replace_file
from sparse_ovs.version import __version__

_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Choice:
    """How a layer runs fastest.

    Attributes:
        tuning: its sizes.
        dense: by the dense kernels, zeros multiplied.
    """

    tuning: _native.Tuning
    dense: bool = False


Size = tuple[int, int, int]  # N, H, W of an output map
Choices = dict[str, dict[Size, Choice]]  # by layer


def load_tunings() -> Choices:
    """What the disk knows for this machine; nothing, with a warning, where the file is damaged."""
    return {
        layer: {_size(size): _choice(entry) for size, entry in sizes.items()}
        for layer, sizes in _read().get(_machine(), {}).items()
    }


def store_tunings(found: Choices) -> None:
    """Adds tunings to what the disk knows; warns, once a folder, where it cannot be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "tunings.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
            everything = _read()
            mine = everything.setdefault(_machine(), {})
            for layer, sizes in found.items():
                entries = {"x".join(map(str, size)): _entry(c) for size, c in sizes.items()}
                mine.setdefault(layer, {}).update(entries)
            content = {"format_version": _FORMAT_VERSION, "tunings": everything}
            replace_file(_path(), json.dumps(content, indent=1).encode())
    except OSError as error:
        if folder not in _told:
            _told.add(folder)
            warnings.warn(
                f"expected {folder} to be writable, got {error}: layers are tuned again next time "
                f"({VARIABLE} names another folder)",
                RuntimeWarning,
                stacklevel=2,
            )


_told: set[Path] = set()  # folders that could not be written


def _path() -> Path:
    return cache_folder() / "tunings.json"


def _machine() -> str:
    return f"{_native.cpu_name()}, {_native.isa()}, sparse_ovs {__version__}"


def _read() -> dict[str, Any]:
    """By machine, layer and size; every entry is known to be sound."""
    path = _path()
    try:
        content = json.loads(path.read_bytes())
        if content["format_version"] != _FORMAT_VERSION:
            raise ValueError(f"format version {content['format_version']!r}")
        tunings: dict[str, Any] = content["tunings"]
        for layers in tunings.values():
            for sizes in layers.values():
                for size, entry in sizes.items():
                    _size(size), _choice(entry)
    except OSError:
        return {}  # none yet, or not to be read
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        warnings.warn(
            f"expected tunings in {path}, got a damaged or foreign file ({error}): it is ignored",
            RuntimeWarning,
            stacklevel=2,
        )
        return {}
    return tunings


def _size(text: str) -> Size:
    n, h, w = map(int, text.split("x"))
    if min(n, h, w) < 1:
        raise ValueError(f"size {text}")
    return n, h, w


def _entry(choice: Choice) -> dict[str, Any]:
    return {**asdict(choice.tuning), "dense": choice.dense}


def _choice(entry: dict[str, Any]) -> Choice:
    sizes = dict(entry)
    dense = sizes.pop("dense")
    if type(dense) is not bool:
        raise ValueError(f"dense: {dense!r}")
    return Choice(_native.Tuning(**sizes), dense)
