"""Cuts regions out of an image for CLIP: painted around, cropped, resized, normalised."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones.clip_pixels import MEAN, STD

# What CLIP sees in place of the pixels around a region.
_PAINT = 128


def region_crops(image: Tensor, regions: Tensor, size: int = 224) -> Tensor:
    """What the frozen CLIP sees of each region (METHOD of arXiv 2404.07448): its bounding box, the
    pixels outside the region painted (128, 128, 128), resized to a square by bicubic interpolation
    with antialiasing, without keeping the aspect ratio, and normalised by CLIP's mean and std.

    Args:
        image: uint8 (3, H, W), RGB.
        regions: bool (n, H, W), on the image's device; each has at least one pixel.
        size: of the square, pixels.

    Returns:
        float32 (n, 3, size, size).

    Raises:
        ValueError: other shapes, or regions without a pixel (all are listed).
        TypeError: other dtypes.
    """
    if image.dtype != torch.uint8 or regions.dtype != torch.bool:
        raise TypeError(f"expected uint8 and bool, got {image.dtype} and {regions.dtype}")
    if image.dim() != 3 or image.shape[0] != 3 or regions.dim() != 3:
        raise ValueError(
            f"expected an image (3, H, W) and regions (n, H, W), got {tuple(image.shape)} and "
            f"{tuple(regions.shape)}"
        )
    if regions.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"expected regions of the image's size {tuple(image.shape[1:])}, got "
            f"{tuple(regions.shape[1:])}"
        )
    empty = (~regions.flatten(1).any(1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"expected regions of at least one pixel, got none in {empty}")
    mean = torch.tensor(MEAN, device=image.device)[:, None, None]
    std = torch.tensor(STD, device=image.device)[:, None, None]
    crops = [_painted_box(image, region, size) for region in regions]
    if not crops:
        return torch.empty(0, 3, size, size, device=image.device)
    return (torch.stack(crops) / 255 - mean) / std


def _painted_box(image: Tensor, region: Tensor, size: int) -> Tensor:
    """(3, size, size) float32 in 0 to 255."""
    rows, columns = region.any(1).nonzero().flatten(), region.any(0).nonzero().flatten()
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    painted = torch.where(region[box], image[:, box[0], box[1]].float(), _PAINT)
    resized = F.interpolate(
        painted[None], (size, size), mode="bicubic", antialias=True, align_corners=False
    )[0]
    return resized.clamp(0, 255)  # bicubic interpolation overshoots at edges
