"""The files of tests that `pytest --quick` leaves out."""

from __future__ import annotations

from functools import cache
from pathlib import Path

LIST = Path(__file__).parents[1] / "long_files.txt"


@cache
def long_files() -> frozenset[Path]:
    """Those that the list names, a path in tests/ on each line."""
    lines = LIST.read_text().splitlines()
    return frozenset(LIST.parent / line for line in lines if not line.startswith("#"))
