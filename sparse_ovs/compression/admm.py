"""Masks and weights of whole layers by the alternating direction method of multipliers (ADMM).

ALPS (arXiv 2406.07831): one copy of the weights minimises the loss, the other obeys the pattern,
and a penalty on their difference grows until they agree. Every step is one product of matrices for
all rows together, where greedy OBS needs a factorisation of each row's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparse_ovs.compression.choice import largest_units
from sparse_ovs.compression.layer_problem import LayerProblem
from sparse_ovs.compression.refit import descend
from sparse_ovs.patterns import Pattern

# Relative to the gram's diagonal, which is scaled to 1. Fewer, steeper steps lose a few per cent
# of the loss; at the last one the mask no longer changes.
_PENALTIES = tuple(0.02 * 2**power for power in range(8))
_STEPS = 5


def prune_by_admm(
    problem: LayerProblem, start: Tensor, pattern: Pattern, kept: Sequence[int], damping: float
) -> list[tuple[Tensor, Tensor]]:
    """Weights and mask, (groups, rows, columns), for each number of units to keep.

    In float32: the penalty, and the damping, keep the matrices far from singular.

    Args:
        start: (groups, rows, columns): the weights to prune, LayerProblem.start.
    """
    gram = problem.damped_gram(damping)
    # Columns of equal power: the distance of the two copies is nearly what it costs.
    scale = gram.diagonal(dim1=1, dim2=2).sqrt()[:, None]
    gram = (gram / scale / scale.mT).float()
    weight = (start.double() * scale).float()
    moments = weight @ gram
    states = [_State(weight, pattern, count) for count in kept]
    for penalty in _PENALTIES:
        damped = gram.clone()
        damped.diagonal(dim1=1, dim2=2).add_(penalty)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        for state in states:
            for _ in range(_STEPS):
                state.step(moments, inverse, penalty)
    found = []
    for state in states:
        fitted = descend(gram, moments, state.sparse, state.mask)
        found.append(((fitted / scale).to(start.dtype).where(state.mask, 0.0), state.mask))
    return found


class _State:
    """Weights on the way to a number of units.

    Attributes:
        sparse: the copy that obeys the pattern.
        mask: what it keeps.
    """

    def __init__(self, weight: Tensor, pattern: Pattern, kept: int) -> None:
        self._pattern, self._kept = pattern, kept
        self.sparse, self.mask = weight, torch.ones_like(weight, dtype=torch.bool)
        self._dual = torch.zeros_like(weight)

    def step(self, moments: Tensor, inverse: Tensor, penalty: float) -> None:
        free = (moments - self._dual + penalty * self.sparse) @ inverse
        free += self._dual / penalty
        chosen = largest_units(free.square().flatten(0, 1), self._pattern, self._kept)
        self.mask = chosen.view_as(free)
        self.sparse = free * self.mask
        self._dual = penalty * (free - self.sparse)
