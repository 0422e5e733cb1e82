"""What could not be built or run, in a line."""

from __future__ import annotations


def in_a_line(error: Exception) -> str:
    """The error's type, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
