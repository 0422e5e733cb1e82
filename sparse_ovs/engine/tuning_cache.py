"""Tunings on disk: what was measured on this CPU with this version, shared by all processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sparse_ovs import _native
from sparse_ovs.tuning_file import TuningFile
from sparse_ovs.version import __version__


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
        for layer, sizes in _FILE.load(_machine()).items()
    }


def store_tunings(found: Choices) -> None:
    """Adds tunings to what the disk knows; warns, once a folder, where it cannot be written."""
    entries = {
        layer: {"x".join(map(str, size)): _entry(choice) for size, choice in sizes.items()}
        for layer, sizes in found.items()
    }
    _FILE.store(_machine(), entries)


def _machine() -> str:
    return f"{_native.cpu_name()}, {_native.isa()}, sparse_ovs {__version__}"


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


def _check(size: str, entry: dict[str, Any]) -> None:
    _size(size), _choice(entry)


_FILE = TuningFile("tunings.json", _check)
