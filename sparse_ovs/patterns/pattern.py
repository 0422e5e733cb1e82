"""The spelling of a sparsity pattern, and what a density may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["unstructured", "block", "n:m", "channel"]

_BLOCK = re.compile(r"block([1-9]\d*)x([1-9]\d*)")
_N_OF_M = re.compile(r"([1-9]\d*):([1-9]\d*)")


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern.

    Attributes:
        kind: "unstructured", "block", "n:m" or "channel".
        first: rows of a block, or n. 0 for the other kinds.
        second: columns of a block, or m. 0 for the other kinds.
    """

    kind: Kind
    first: int = 0
    second: int = 0

    def __str__(self) -> str:
        if self.kind == "block":
            return f"block{self.first}x{self.second}"
        if self.kind == "n:m":
            return f"{self.first}:{self.second}"
        return self.kind


def parse_pattern(text: str | Pattern) -> Pattern:
    """Parses "unstructured", "block4x1" (any RxC), "2:4" (any n:m, n <= m) or "channel".

    Raises:
        ValueError: any other spelling.
    """
    if isinstance(text, Pattern):
        return text
    if isinstance(text, str):
        if text in ("unstructured", "channel"):
            return Pattern(text)  # type: ignore[arg-type]
        if block := _BLOCK.fullmatch(text):
            return Pattern("block", int(block[1]), int(block[2]))
        if (group := _N_OF_M.fullmatch(text)) and int(group[1]) <= int(group[2]):
            return Pattern("n:m", int(group[1]), int(group[2]))
    raise ValueError(
        f"expected pattern 'unstructured', 'blockRxC', 'n:m' or 'channel', got {text!r}"
    )


def check_density(density: float) -> float:
    """Returns the density (kept fraction) as a float.

    Raises:
        TypeError: not a number.
        ValueError: outside 0 < density <= 1.
    """
    if isinstance(density, bool) or not isinstance(density, (int, float)):
        raise TypeError(f"expected a density as a number, got {density!r}")
    if not 0 < density <= 1:
        raise ValueError(f"expected a density with 0 < density <= 1, got {density!r}")
    return float(density)


def kept_count(density: float, total: int) -> int:
    """floor(density * total), exact for the decimal that the user wrote: 0.1 of 30 is 3."""
    return int(Fraction(repr(check_density(density))) * total)
