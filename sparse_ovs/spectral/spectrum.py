"""The empirical spectral density of a weight: the eigenvalues of its matrices, pooled."""

from __future__ import annotations

import torch
from torch import Tensor

# Eigenvalues up to here are zeros of the spectrum, left by rounding or by a lower rank.
SMALLEST = 1e-5
# Of a convolution's eigenvalues: each of its matrices is taken times sqrt(0.5).
_CONV_SCALE = 0.5


def spectrum(
    weight: Tensor, *, windows: bool = False, device: torch.device | str | None = None
) -> Tensor:
    """Squared singular values of the weight's matrices, pooled; those up to 1e-5 left out
    (OpenTrans, arXiv 2404.07448).

    A convolution (O, I, kh, kw) is kh * kw matrices (O, I), each times sqrt(0.5), the normalisation
    that WeightWatcher gives to convolutions and OpenTrans took over; a linear layer (O, I) is one
    matrix as it is. Computed from Gram matrices in fp64, so that the smallest eigenvalues are right
    too.

    Args:
        weight: (O, I) of a linear layer or (O, I, kh, kw) of a convolution, of any float dtype.
        windows: take square windows of each matrix instead of the whole, side min(O, I), evenly
            placed along the longer side so that they cover it: a spectrum that does not depend on
            the aspect ratio (FARMS, arXiv 2506.06280).
        device: where to compute; None computes where the weight lies.

    Returns:
        (N,) float64 on the CPU, ascending; empty where every eigenvalue is that small.

    Raises:
        ValueError: another number of dimensions, an empty weight, or values that are not finite.
    """
    if weight.dim() not in (2, 4) or not weight.numel():
        raise ValueError(
            "expected a weight (O, I) or (O, I, kh, kw) that is not empty, "
            f"got {tuple(weight.shape)}"
        )
    if not torch.isfinite(weight).all():
        raise ValueError("expected finite weights, got NaN or infinity")
    matrices = weight.detach().to(device).double().reshape(*weight.shape[:2], -1).permute(2, 0, 1)
    if windows:
        matrices = _square_windows(matrices)
    if matrices.shape[1] < matrices.shape[2]:
        matrices = matrices.mT
    gram = matrices.mT @ matrices  # (K, n, n), n = min(O, I)
    eigenvalues = torch.linalg.eigvalsh(gram).flatten().cpu()
    if weight.dim() == 4:
        eigenvalues = eigenvalues * _CONV_SCALE
    return eigenvalues[eigenvalues > SMALLEST].sort().values


def _square_windows(matrices: Tensor) -> Tensor:
    """(K, O, I) -> (K * windows, side, side)."""
    long_axis = 1 if matrices.shape[1] >= matrices.shape[2] else 2
    length, side = matrices.shape[long_axis], matrices.shape[3 - long_axis]
    count = -(-length // side)
    room = length - side
    starts = [round(room * index / max(1, count - 1)) for index in range(count)]
    return torch.cat([matrices.narrow(long_axis, start, side) for start in starts])
