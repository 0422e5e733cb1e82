"""Why a sparse layer has no kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from sparse_ovs import _native
from sparse_ovs.formats import MaskFit
from sparse_ovs.ops.backends import family_of
from sparse_ovs.ops.cuda import choose
from sparse_ovs.ops.cuda.request import GPU_DTYPES, conv_arithmetic, linear_arithmetic


def conv2d_unsupported(
    *,
    dtype: torch.dtype,
    device: torch.device,
    weight_shape: Sequence[int],
    fit: Callable[[], MaskFit],
    groups: int = 1,
) -> list[str]:
    """Reasons why no kernel runs this problem; empty if one does.

    Args:
        fit: how the mask fits the formats of GPUs; asked for only where that matters.
    """
    reasons = []
    family = family_of(device)
    if family is None:
        reasons.append(f"{device.type} has no kernel")
    if family == "native" and _native.unavailable_reason():
        reasons.append(_native.unavailable_reason())
    name = str(dtype).removeprefix("torch.")
    if family == "native" and dtype != torch.float32:
        reasons.append(f"{name} has no CPU kernel")
    if family == "cuda" and dtype not in GPU_DTYPES:
        reasons.append(f"{name} has no GPU kernel")
    if family == "cuda" and groups != 1:
        reasons.append("grouped convolutions have no GPU kernel")
    if len(weight_shape) not in (2, 4):
        reasons.append(f"a weight of rank {len(weight_shape)} has no kernel")
    if family == "cuda" and not reasons:
        arithmetic = linear_arithmetic if len(weight_shape) == 2 else conv_arithmetic
        reasons += choose.unsupported_reasons(fit(), arithmetic(dtype))
    return reasons


def linear_unsupported(
    *,
    dtype: torch.dtype,
    device: torch.device,
    weight_shape: Sequence[int],
    fit: Callable[[], MaskFit],
) -> list[str]:
    """Reasons why no kernel runs this problem; empty if one does. See `conv2d_unsupported`."""
    return conv2d_unsupported(dtype=dtype, device=device, weight_shape=weight_shape, fit=fit)
