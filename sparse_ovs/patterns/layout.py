"""Tap-major flattening: neighbouring columns are input channels at one tap."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def flatten_tap_major(weight: Tensor) -> Tensor:
    """(O, I, *kernel) -> (O, prod(kernel) * I), columns ordered (*kernel, I); (O, I) stays as it
    is.

    Raises:
        ValueError: a weight of less than two dimensions.
    """
    if weight.dim() < 2:
        raise ValueError(f"expected a weight (O, I, ...), got shape {tuple(weight.shape)}")
    return weight.movedim(1, -1).reshape(weight.shape[0], -1)


def unflatten_tap_major(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """Inverse of flatten_tap_major for a weight of this shape; contiguous."""
    out_channels, in_channels, *kernel = shape
    return matrix.reshape(out_channels, *kernel, in_channels).movedim(-1, 1).contiguous()
