"""Maps enlarged strip by strip, so that all of them are never held at an image's size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

# Values that are held at once: 64 MB of fp32.
_MOST_VALUES = 1 << 24


def enlarged_strips(
    maps: Tensor, size: tuple[int, int], most: int = _MOST_VALUES
) -> Iterator[tuple[slice, Tensor]]:
    """Enlarges bilinearly (as F.interpolate, align_corners=False).

    Args:
        maps: (Q, h, w) floating point.
        size: (H, W).
        most: values that a strip has, at least a row.

    Yields:
        The rows of each strip, and (Q, rows, W).
    """
    height, width = size
    rows = max(1, most // max(1, len(maps) * width))
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        at = (torch.arange(strip.start, strip.stop, device=maps.device) + 0.5) * (
            maps.shape[1] / height
        ) - 0.5
        at = at.clamp(0, maps.shape[1] - 1)
        above = at.floor().long()
        below = (above + 1).clamp(max=maps.shape[1] - 1)
        first, last = int(above[0]), int(below[-1]) + 1
        wide = F.interpolate(
            maps[None, :, first:last], (last - first, width), mode="bilinear", align_corners=False
        )[0]
        weight = (at - above).to(maps.dtype)[:, None]  # (rows, 1)
        yield strip, torch.lerp(wide[:, above - first], wide[:, below - first], weight)
