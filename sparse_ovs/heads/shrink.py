"""Maps made smaller bilinearly, without copies where the factor is even."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def shrunk(maps: Tensor, height: int, width: int) -> Tensor:
    """As F.interpolate, bilinear, align_corners=False, up to rounding.

    Args:
        maps: (N, C, h, w).

    Returns:
        (N, C, height, width).
    """
    factor = maps.shape[-2] // height
    if factor == 0 or factor % 2 or maps.shape[-2:] != (factor * height, factor * width):
        return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)
    # New centres lie between four cells. torch's interpolation would rearrange the whole map first.
    if factor == 2:
        return F.avg_pool2d(maps, 2)
    first, second = (slice(factor // 2 - 1 + k, None, factor) for k in (0, 1))
    rows = maps[:, :, first] + maps[:, :, second]
    return (rows[..., first] + rows[..., second]) / 4
