"""A layer's weight as a matrix for each group, and back: columns are tap-major, as patterns are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sparse_ovs.patterns import flatten_tap_major, unflatten_tap_major


def as_matrices(weight: Tensor, groups: int = 1) -> Tensor:
    """(O, I, *kernel) or (O, I) -> (groups, O / groups, columns)."""
    return flatten_tap_major(weight).unflatten(0, (groups, -1))


def as_weight(matrices: Tensor, shape: Sequence[int]) -> Tensor:
    """Inverse of as_matrices for a weight of this shape; masks too."""
    return unflatten_tap_major(matrices.flatten(0, 1), shape)
