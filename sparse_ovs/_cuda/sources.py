"""Finds the CUDA sources: installed beside the package, or in the checkout."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


class SourceError(RuntimeError):
    """The CUDA sources, or one of them, are missing."""


def candidates() -> list[Path]:
    """Folders that the sources may lie in. An editable install uses those of the checkout, so that
    a change of theirs counts at once."""
    package = Path(__file__).parents[1]
    return [package / "cuda_sources", package.parent / "csrc" / "cuda"]


@lru_cache(maxsize=1)
def sources() -> dict[str, str]:
    """All .cu and .cuh files by name. Raises SourceError."""
    folder = next((f for f in candidates() if f.is_dir()), None)
    if folder is None:
        looked = ", ".join(map(str, candidates()))
        raise SourceError(f"expected the CUDA sources, got none in {looked}")
    return {path.name: path.read_text() for path in sorted(folder.glob("*.cu*"))}


def source(name: str) -> str:
    """The text of one file. Raises SourceError."""
    found = sources()
    if name not in found:
        raise SourceError(f"expected one of the CUDA sources {', '.join(found)}, got {name!r}")
    return found[name]
