"""What a pattern keeps by scores, over all rows of a layer, and how many units a density means."""

from __future__ import annotations

from torch import Tensor

from sparse_ovs.patterns import Pattern, kept_count
from sparse_ovs.patterns.units import (
    expand_units,
    largest,
    largest_in_groups,
    unit_grid,
    unit_sums,
)


def largest_units(scores: Tensor, pattern: Pattern, kept: int) -> Tensor:
    """bool (O, columns): the units of the largest sums of scores, which are not negative.

    Args:
        kept: how many units; n:m, which keeps n of every m columns, does not read it.
    """
    if pattern.kind == "n:m":
        return largest_in_groups(scores, pattern.second, pattern.first)
    sums = unit_sums(scores, pattern)
    return expand_units(largest(sums.flatten(), kept).view_as(sums), pattern, scores.shape)


def count_kept(shape: tuple[int, int], pattern: Pattern, density: float) -> int:
    """How many units of an (O, columns) stay at a density, 0 to 1; for n:m, how many weights.

    Raises:
        TypeError, ValueError: no number, or out of its range; for n:m other than n / m.
    """
    if pattern.kind == "n:m":
        n, m = pattern.first, pattern.second
        if abs(density - n / m) > 1e-9:
            raise ValueError(f"expected density {n / m:g} for pattern '{pattern}', got {density!r}")
        whole, rest = divmod(shape[1], m)
        return shape[0] * (whole * n + min(rest, n))
    rows, columns = unit_grid(shape, pattern)
    return 0 if density == 0 else kept_count(density, rows * columns)
