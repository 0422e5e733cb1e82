"""Problems of random layers with correlated inputs, and Optimal Brain Surgeon by brute force."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from sparse_ovs.compression.layer_problem import LayerProblem

Unit = tuple[tuple[int, ...], int]  # rows, and their column


def random_inputs(groups: int, samples: int, columns: int, random: torch.Generator) -> Tensor:
    """float64 (groups, samples, columns): not negative, of a few latent causes, of unequal power,
    as maps after ReLU are."""
    causes = max(2, columns // 3)
    latent = torch.randn(groups, samples, causes, generator=random, dtype=torch.float64)
    mixed = latent @ torch.randn(groups, causes, columns, generator=random, dtype=torch.float64)
    own = torch.randn(groups, samples, columns, generator=random, dtype=torch.float64)
    power = torch.rand(groups, 1, columns, generator=random, dtype=torch.float64) + 0.1
    return (mixed / causes**0.5 + 0.4 * own).relu() * power


def problem_of(weight: Tensor, dense: Tensor, compressed: Tensor | None = None) -> LayerProblem:
    """The problem of weights (groups, rows, columns) on inputs (groups, samples, columns)."""
    seen = dense if compressed is None else compressed
    count = dense.shape[1]
    gram = seen.mT @ seen / count
    return LayerProblem(
        weight,
        gram,
        gram if compressed is None else dense.mT @ seen / count,
        (weight.double() @ dense.mT).square().mean(2),
        dense.mean(1),
        seen.mean(1),
    )


def random_problem(
    groups: int, rows: int, columns: int, seed: int, samples: int | None = None, drift: float = 0.0
) -> LayerProblem:
    """Weights of unequal rows, as trained layers have.

    Args:
        samples: by default four for each column.
        drift: how far the compressed network's inputs are from the dense one's, relative.
    """
    random = torch.Generator().manual_seed(seed)
    x = random_inputs(groups, samples or 4 * columns, columns, random)
    size = torch.rand(groups, rows, 1, generator=random, dtype=torch.float64) + 0.3
    weight = torch.randn(groups, rows, columns, generator=random, dtype=torch.float64) * size
    if not drift:
        return problem_of(weight, x)
    noise = torch.randn(x.shape, generator=random, dtype=torch.float64)
    return problem_of(weight, x, x * (1 + drift * noise))


def brute_force(
    gram: Tensor,
    start: Tensor,
    units: Sequence[Unit],
    allowed: Callable[[Tensor, Unit], bool] = lambda mask, unit: True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Mask and weights, (rows, columns), after each unit that greedy OBS prunes: every unit that is
    left is tried, with least squares over what its rows then keep.

    Args:
        gram: (rows, columns, columns), each row's own.
        start: (rows, columns).
        units: what is pruned as one.
        allowed: whether a unit may go from what the mask keeps; it ends when none may.
    """
    mask = torch.ones(start.shape, dtype=torch.bool)
    weight, left = start.clone(), list(units)
    losses = torch.zeros(len(start), dtype=start.dtype)
    while left := [unit for unit in left if allowed(mask, unit)]:
        tried = []
        for rows, column in left:
            fitted = {}
            for row in rows:
                kept = mask[row].clone()
                kept[column] = False
                fitted[row] = least_squares(gram[row], start[row], kept)
            rise = sum(
                (loss_to(gram[row], start[row], new) - losses[row] for row, new in fitted.items()),
                torch.zeros((), dtype=start.dtype),
            )
            tried.append((float(rise), fitted, (rows, column)))
        _, fitted, unit = min(tried, key=lambda each: each[0])
        left.remove(unit)
        for row, new in fitted.items():
            mask[row, unit[1]], weight[row] = False, new
            losses[row] = loss_to(gram[row], start[row], new)
        yield mask.clone(), weight.clone()


def least_squares(gram: Tensor, start: Tensor, kept: Tensor) -> Tensor:
    """(columns,): zero where not kept, the least (w - start) gram (w - start)."""
    found = torch.zeros_like(start)
    at = kept.nonzero().squeeze(1)
    if len(at):
        found[at] = torch.linalg.solve(gram[at][:, at], (gram @ start)[at])
    return found


def loss_to(gram: Tensor, start: Tensor, weight: Tensor) -> Tensor:
    """(w - start) gram (w - start)."""
    return (weight - start) @ gram @ (weight - start)
