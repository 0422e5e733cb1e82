"""Rounds a layer's weights to s8 so that each error is made good by the weights beside it.

GPTQ (arXiv 2210.17323) goes through the columns once: what rounding one changes is taken off those
after it. Coordinate descent (QuantEase, arXiv 2309.01885) then moves single weights on the grid
while the loss falls, which finds what a pruned column could not take.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs.compression.layer_problem import LayerProblem
from sparse_ovs.quantization.ranges import weight_scales

_LEVELS = 127
_BLOCK = 128  # columns whose errors reach the others in one product
_SWEEPS = 3  # of coordinate descent: later ones gain less than a per cent


def round_to_s8(
    problem: LayerProblem,
    weight: Tensor,
    mask: Tensor,
    scales: Tensor | None = None,
    damping: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Weights on the s8 grid of their output channel, zero outside the mask.

    Their damped loss is not above that of the nearest numbers of the grid, in any row.

    Args:
        problem: the layer's dense weights and moments.
        weight: (groups, rows, columns): pruned weights.
        mask: bool, of the same shape, True = kept.
        scales: float32 (output channels,); None: of `weight`, as `quantize` chooses them. Hand what
            is returned on to the Quantization: a channel's largest number need not be 127.
        damping: of the gram, see LayerProblem.damped_gram.

    Returns:
        The weights, each a whole number from -127 to 127 times its channel's scale, of weight's
        shape and dtype, and the scales.

    Raises:
        ValueError: a mask or scales of another shape, or scales that are not positive and finite.
    """
    if mask.shape != weight.shape:
        raise ValueError(f"expected a mask of shape {tuple(weight.shape)}, got {tuple(mask.shape)}")
    scales = weight_scales((weight * mask).flatten(0, 1)) if scales is None else scales
    if scales.shape != (weight.shape[0] * weight.shape[1],):
        raise ValueError(
            f"expected a scale for each of {weight.shape[0] * weight.shape[1]} output channels, "
            f"got shape {tuple(scales.shape)}"
        )
    if not bool(((scales > 0) & scales.isfinite()).all()):
        raise ValueError("expected positive, finite scales, got others")
    grid = _Grid(scales.double().view(weight.shape[:2]), mask)
    gram, start = problem.damped_gram(damping), problem.start(damping).double()
    nearest = grid.nearest(weight.double(), slice(None))
    fed = _feed_forward(gram, weight.double(), grid)
    better = _row_losses(fed - start, gram) < _row_losses(nearest - start, gram)
    rounded = _descend(gram, start, torch.where(better[:, :, None], fed, nearest), grid)
    whole = (rounded / grid.steps[:, :, None]).round() + 0.0  # no -0.0
    # In the weight's own arithmetic, as whoever multiplies a whole number by its scale.
    return whole.to(weight.dtype) * scales.to(weight.dtype).view(*weight.shape[:2], 1), scales


@dataclass(frozen=True)
class _Grid:
    """The numbers that weights may be.

    Attributes:
        steps: float64 (groups, rows): distance of neighbours.
        mask: bool (groups, rows, columns): elsewhere only zero.
    """

    steps: Tensor
    mask: Tensor

    def nearest(self, weight: Tensor, columns: int | slice) -> Tensor:
        """Of (groups, rows), the weights of a column, or of (groups, rows, columns)."""
        steps = self.steps if weight.dim() == 2 else self.steps[:, :, None]
        whole = (weight / steps).round_().clamp_(-_LEVELS, _LEVELS)
        return whole * steps * self.mask[:, :, columns]


def _feed_forward(gram: Tensor, weight: Tensor, grid: _Grid) -> Tensor:
    """GPTQ; columns outside the mask are rounded to zero."""
    factor = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    factor = torch.linalg.cholesky(factor).mT  # upper triangular
    weight, rounded = weight.clone(), torch.empty_like(weight)
    for first, last in _blocks(weight.shape[2]):
        block = weight[:, :, first:last].clone()
        errors = torch.empty_like(block)
        for here, column in enumerate(range(first, last)):
            chosen = rounded[:, :, column] = grid.nearest(block[:, :, here], column)
            error = (block[:, :, here] - chosen) / factor[:, column, None, column]
            errors[:, :, here] = error
            block -= error[:, :, None] * factor[:, column, None, first:last]
        weight[:, :, last:] -= errors @ factor[:, first:last, last:]
    return rounded


def _descend(gram: Tensor, start: Tensor, rounded: Tensor, grid: _Grid) -> Tensor:
    """Moves one column's weights after the other to where the loss is least, on the grid."""
    rounded, slope = rounded.clone(), (start - rounded) @ gram
    for _ in range(_SWEEPS):
        for first, last in _blocks(gram.shape[1]):
            block = slope[:, :, first:last].clone()
            before = rounded[:, :, first:last].clone()
            for here, column in enumerate(range(first, last)):
                old = rounded[:, :, column]
                best = old + block[:, :, here] / gram[:, column, None, column]
                chosen = grid.nearest(best, column)
                block -= (chosen - old)[:, :, None] * gram[:, column, None, first:last]
                rounded[:, :, column] = chosen
            slope -= (rounded[:, :, first:last] - before) @ gram[:, first:last]
    return rounded


def _row_losses(change: Tensor, gram: Tensor) -> Tensor:
    return ((change @ gram) * change).sum(2)


def _blocks(columns: int) -> Iterator[tuple[int, int]]:
    for first in range(0, columns, _BLOCK):
        yield first, min(first + _BLOCK, columns)
