"""One class a pixel from scores on a coarse grid, by the native library."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.threads import get_num_threads


def decide(
    grid: Tensor, size: tuple[int, int], logits: bool, confidence: bool, scores: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Enlarges scores bilinearly (as F.interpolate, align_corners=False) and takes the best class.

    Args:
        grid: (K, h, w) float32 on the CPU; copied if not contiguous.
        size: (H, W).
        logits: whether a softmax makes probabilities of the enlarged scores.
        confidence, scores: whether to make them.

    Returns:
        Labels (H, W) int64, the first class of equal ones; their probability (H, W); all
        probabilities (K, H, W).
    """
    grid = grid.contiguous()
    labels = torch.empty(size, dtype=torch.int64)
    sure = torch.empty(size) if confidence else None
    everything = torch.empty(len(grid), *size) if scores else None
    _native.decide(
        (grid.shape[0], grid.shape[1], grid.shape[2]),
        grid.data_ptr(),
        size,
        logits,
        labels.data_ptr(),
        None if sure is None else sure.data_ptr(),
        None if everything is None else everything.data_ptr(),
        get_num_threads(),
    )
    return labels, sure, everything


def decide_unsupported(grid: Tensor) -> list[str]:
    """Reasons why the library does not decide on these scores; empty if it does."""
    reasons = []
    if grid.device.type != "cpu":
        reasons.append(f"{grid.device.type} has no kernel")
    elif _native.unavailable_reason():
        reasons.append(_native.unavailable_reason())
    if grid.dtype != torch.float32:
        reasons.append(f"{str(grid.dtype).removeprefix('torch.')} has no CPU kernel")
    return reasons
