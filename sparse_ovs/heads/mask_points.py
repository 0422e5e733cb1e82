"""Points at which masks are compared, instead of at every pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_points(
    maps: int, count: int, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """(maps, count, 2), x and y from 0 to 1, drawn on the CPU."""
    return torch.rand(maps, count, 2, generator=generator).to(device)


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Each map at its own points, bilinearly; 0 outside.

    Args:
        maps: (n, H, W) floating point.
        points: (n, P, 2).

    Returns:
        (n, P).
    """
    return _read(maps[:, None], points)[:, 0]


def sample_shared(maps: Tensor, points: Tensor) -> Tensor:
    """All maps at the same points: (n, H, W) and (P, 2) -> (n, P), see `sample`."""
    return _read(maps[None], points[None])[0]


def _read(images: Tensor, points: Tensor) -> Tensor:
    """(m, C, H, W) and (m, P, 2) -> (m, C, P)."""
    grid = (2 * points - 1).to(images.dtype)[:, None]
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)[:, :, 0]


def uncertain_points(
    logits: Tensor, count: int, oversample: float, share: float, generator: torch.Generator | None
) -> Tensor:
    """Points of which a share is where masks are least certain: the nearest to 0 of more random
    points than are needed (PointRend, arXiv 1912.08193, section 3.1).

    Args:
        logits: (n, H, W).
        count: points by mask.
        oversample: times as many random points to choose from.
        share: of the points that are chosen; the others are random.

    Returns:
        (n, count, 2), x and y from 0 to 1.
    """
    chosen = round(share * count)
    points = random_points(len(logits), int(oversample * count), generator, logits.device)
    others = random_points(len(logits), count - chosen, generator, logits.device)
    certain = sample(logits, points).abs()
    nearest = certain.topk(chosen, dim=1, largest=False).indices
    return torch.cat((points.take_along_dim(nearest[..., None], 1), others), 1)
