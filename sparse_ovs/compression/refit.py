"""The best weights under a mask: least squares over what each row keeps."""

from __future__ import annotations

import torch
from torch import Tensor

# Numbers of the systems that are solved together.
_CHUNK = 1 << 22
_MOST_STEPS = 64


def solve(gram: Tensor, start: Tensor, mask: Tensor) -> Tensor:
    """float64 (groups, rows, columns): the weights W, zero outside the mask, with the least
    (W - start) gram (W - start)^T, by a factorisation for each row.

    Args:
        gram: float64 (groups, columns, columns), positive definite.
        start: (groups, rows, columns).
        mask: bool, of the same shape, True = kept.
    """
    groups, rows, columns = start.shape
    found = torch.zeros(groups * rows, columns, dtype=torch.float64)
    moments = (start.double() @ gram).flatten(0, 1)
    group = torch.arange(groups).repeat_interleave(rows)
    for some in torch.arange(groups * rows).split(max(1, _CHUNK // columns**2)):
        kept = mask.flatten(0, 1)[some].double()
        # What is pruned has equations of its own, x = 0, so that all systems have one size.
        system = gram[group[some]] * kept[:, :, None] * kept[:, None]
        system.diagonal(dim1=1, dim2=2).add_(1 - kept)
        right = (moments[some] * kept)[:, :, None]
        solved = torch.cholesky_solve(right, torch.linalg.cholesky(system))
        found[some] = solved.squeeze(2).where(kept > 0, 0.0)
    return found.view(groups, rows, columns)


def descend(gram: Tensor, moments: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """(groups, rows, columns): W as of `solve`, by conjugate gradients on all rows at once.

    Args:
        gram: (groups, columns, columns), its diagonal 1: a system of another scale converges badly.
        moments: (groups, rows, columns): start gram.
        weight: where to begin, zero outside the mask.
        mask: bool, of the same shape, True = kept.
    """
    weight, residual = weight.clone(), (moments - weight @ gram) * mask
    direction, power = residual, residual.square().sum(2, keepdim=True)
    enough = 1e-6 * float(power.sum())
    for _ in range(_MOST_STEPS):
        if float(power.sum()) <= enough:
            break
        image = (direction @ gram) * mask
        curvature = (direction * image).sum(2, keepdim=True)
        step = torch.where(curvature > 0, power / curvature, 0)
        weight += step * direction
        residual = residual - step * image
        before, power = power, residual.square().sum(2, keepdim=True)
        direction = residual + torch.where(before > 0, power / before, 0) * direction
    return weight
