"""Greedy Optimal Brain Surgeon: one weight of a row after the other, by what its loss costs.

Optimal Brain Compression (arXiv 2208.11580): in a row w with the inverse H of its inputs' gram,
pruning weight j and changing all others for the best costs w_j^2 / H_jj; the row becomes
w - w_j / H_jj H_j, and H loses the dimension j. Rows that prune a column together (block4x1) share
the choice: the sum of their costs is the least.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.compression.layer_problem import LayerProblem
from sparse_ovs.patterns import Pattern
from sparse_ovs.patterns.units import expand_units

# Bytes of the factors of the rows that are traced together: more do not fit into a CPU's cache.
_CHUNK = 1 << 26


@dataclass(frozen=True)
class Trace:
    """In which order the rows lose their units, and what each costs.

    Attributes:
        columns: int64 (units of rows, steps): the column that a row, or R neighbouring ones, lose.
        costs: float64, of the same shape: what that adds to the damped loss.
        shape: output channels and columns of the layer.
        pattern: unstructured, Rx1 blocks, or n:m, whose steps end where every group has n left.
    """

    columns: Tensor
    costs: Tensor
    shape: tuple[int, int]
    pattern: Pattern

    def mask(self, kept: int) -> Tensor:
        """bool, of the layer's shape: `kept` units stay, for n:m all that the steps leave.

        Of all rows' next steps the cheapest is taken, again and again: a step that is cheaper than
        one before it in its row is taken right after that one, so one sort finds them all.
        """
        units = len(self.columns) * self.shape[1]
        ranks = self.costs.cummax(1).values.flatten().sort(stable=True).indices
        dropped = torch.zeros(ranks.numel(), dtype=torch.bool)
        dropped[ranks if self.pattern.kind == "n:m" else ranks[: units - kept]] = True
        stays = torch.ones(len(self.columns), self.shape[1], dtype=torch.bool)
        stays.scatter_(1, self.columns, ~dropped.view_as(self.columns))
        if self.pattern.kind == "n:m":
            return stays
        return expand_units(stays, self.pattern, self.shape)


def can_trace(pattern: Pattern) -> bool:
    """Whether the pattern's units are single columns."""
    return pattern.kind in ("unstructured", "n:m") or (
        pattern.kind == "block" and pattern.second == 1
    )


def trace(problem: LayerProblem, start: Tensor, pattern: Pattern, damping: float) -> Trace:
    """Prunes every row to nothing, or to n:m.

    Args:
        start: (groups, rows, columns): the weights to prune, LayerProblem.start.

    Raises:
        ValueError: a pattern whose units have several columns.
    """
    if not can_trace(pattern):
        raise ValueError(f"expected units of one column, got pattern '{pattern}'")
    groups, rows, columns = start.shape
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(problem.damped_gram(damping)))
    height = pattern.first if pattern.kind == "block" else 1
    missing = -groups * rows % height  # zeros at the bottom, up to a whole block
    weight = F.pad(start.double().flatten(0, 1), (0, 0, 0, missing)).unflatten(0, (-1, height))
    group = torch.arange(groups * rows + missing).div(rows, rounding_mode="floor")
    group = group.clamp_(max=groups - 1).view(-1, height)
    if rows % height == 0 or groups == 1:
        group = group[:, :1]  # all rows of a block have the same inputs
    size = max(1, _CHUNK // (8 * group.shape[1] * columns * columns))
    parts = [
        _trace_rows(inverse, some, of, pattern)
        for some, of in zip(weight.split(size), group.split(size), strict=True)
    ]
    order, costs = (torch.cat(part) for part in zip(*parts, strict=True))
    return Trace(order, costs, (groups * rows, columns), pattern)


def _trace_rows(
    inverse: Tensor, weight: Tensor, group: Tensor, pattern: Pattern
) -> tuple[Tensor, Tensor]:
    """Columns and costs of blocks of rows, all at once.

    The inverse after k steps is inverse - sum of u u^T over k vectors, so only one column of it
    and the diagonal are computed in a step: a Cholesky factorisation that chooses its pivots.

    Args:
        inverse: (groups, columns, columns).
        weight: (blocks, R, columns).
        group: int64 (blocks, R), or (blocks, 1) where the rows of a block are of one group.
    """
    (blocks, _, columns), inverses = weight.shape, group.shape[1]
    weight = weight.clone()
    diagonal = inverse.diagonal(dim1=1, dim2=2)[group]  # (blocks, inverses, columns)
    least = diagonal.amin() * torch.finfo(torch.float64).eps
    closed = _Closed(blocks, columns, pattern)
    steps = closed.steps
    factors = torch.empty(blocks, inverses, steps, columns, dtype=torch.float64)
    order = torch.empty(blocks, steps, dtype=torch.int64)
    costs = torch.empty(blocks, steps, dtype=torch.float64)
    for step in range(steps):
        cost = (weight.square() / diagonal).sum(1).masked_fill_(closed.mask, torch.inf)
        costs[:, step], chosen = cost.min(1)
        order[:, step] = chosen
        closed.prune(chosen)
        here = chosen[:, None, None]
        column = inverse[group, chosen[:, None]]
        if step:
            made = factors[:, :, :step]
            shares = made.gather(3, here[..., None].expand(-1, inverses, step, 1))
            column = column - (shares.mT @ made).squeeze(2)
        pivot = column.gather(2, here.expand(-1, inverses, 1)).clamp_(min=least)
        weight -= weight.gather(2, here.expand(-1, weight.shape[1], 1)) / pivot * column
        factors[:, :, step] = column / pivot.sqrt()
        diagonal = (diagonal - factors[:, :, step].square()).clamp_(min=least)
    return order, costs


class _Closed:
    """Columns that a block of rows may not prune: those it has pruned, and where n are left."""

    def __init__(self, blocks: int, columns: int, pattern: Pattern) -> None:
        self.mask = torch.zeros(blocks, columns, dtype=torch.bool)
        self.steps = columns
        self._size = 0
        if pattern.kind == "n:m":
            self._size = pattern.second
            sizes = torch.full((-(-columns // self._size),), self._size)
            sizes[-1] -= sizes.sum() - columns
            self._spare = (sizes - pattern.first).clamp_(min=0).expand(blocks, -1).clone()
            self.steps = int(self._spare[0].sum())
            self.mask = self._full()

    def prune(self, chosen: Tensor) -> None:
        rows = torch.arange(len(chosen))
        if self._size:
            self._spare[rows, chosen // self._size] -= 1
            self.mask |= self._full()
        self.mask[rows, chosen] = True

    def _full(self) -> Tensor:
        full = (self._spare == 0).repeat_interleave(self._size, 1)
        return full[:, : self.mask.shape[1]]
