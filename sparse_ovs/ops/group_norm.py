"""GroupNorm in place by the native library, with a feature pyramid's sum and a ReLU behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.threads import get_num_threads


def group_norm_(
    x: Tensor,
    groups: int,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    above: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """group_norm(x) + upsampled(above), then a ReLU where wanted, written over x; for inference.

    Args:
        x: (N, C, H, W) float32 on the CPU, contiguous; see `group_norm_unsupported`.
        groups: divides C.
        gamma, beta: (C,).
        above: (N, C, h, w), upsampled bilinearly (as F.interpolate, align_corners=False); copied if
            not contiguous.

    Returns:
        x.

    Raises:
        ValueError: sizes that do not fit each other.
    """
    n, channels = x.shape[:2]
    if channels % groups or tuple(gamma.shape) != (channels,) or tuple(beta.shape) != (channels,):
        raise ValueError(
            f"expected gamma and beta of {channels} channels in whole groups, got "
            f"{tuple(gamma.shape)}, {tuple(beta.shape)} and {groups} groups"
        )
    if above is not None and tuple(above.shape[:2]) != (n, channels):
        raise ValueError(f"expected above ({n}, {channels}, h, w), got {tuple(above.shape)}")
    gamma, beta = gamma.contiguous(), beta.contiguous()
    above = None if above is None else above.contiguous()
    _native.group_norm(
        (n, channels, x.shape[2], x.shape[3]),
        groups,
        eps,
        x.data_ptr(),
        gamma.data_ptr(),
        beta.data_ptr(),
        None if above is None else above.data_ptr(),
        (0, 0) if above is None else (above.shape[2], above.shape[3]),
        relu,
        get_num_threads(),
    )
    return x


def group_norm_unsupported(x: Tensor) -> list[str]:
    """Reasons why no kernel normalises this map; empty if one does."""
    reasons = []
    if x.device.type != "cpu":
        reasons.append(f"{x.device.type} has no kernel")
    elif _native.unavailable_reason():
        reasons.append(_native.unavailable_reason())
    if x.dtype != torch.float32:
        reasons.append(f"{str(x.dtype).removeprefix('torch.')} has no CPU kernel")
    if x.dim() != 4 or x.numel() == 0 or not x.is_contiguous():
        reasons.append("only contiguous maps (N, C, H, W) with pixels have a kernel")
    return reasons
