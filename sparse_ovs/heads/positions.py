"""Sine positions of the cells of a map."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TEMPERATURE = 10_000.0


def sine_positions(height: int, width: int, dim: int, like: Tensor) -> Tensor:
    """Sines and cosines of each cell's row, then of its column (DETR, arXiv 2005.12872, appendix
    A.4), places counted from 1 and scaled so that the last is 2 pi.

    Args:
        dim: channels, a multiple of 4: half for the rows, half for the columns.
        like: gives device and dtype.

    Returns:
        (height * width, dim), row-major.
    """
    rows, columns = (_axis(size, dim // 2, like) for size in (height, width))
    both = (
        rows[:, None].expand(height, width, dim // 2),
        columns[None].expand(height, width, dim // 2),
    )
    return torch.cat(both, dim=-1).flatten(0, 1).to(like.dtype)


def _axis(size: int, channels: int, like: Tensor) -> Tensor:
    """(size, channels): sine and cosine of falling frequencies in turn."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    places = torch.arange(1, size + 1, device=like.device, dtype=dtype)
    powers = torch.arange(0, channels, 2, device=like.device, dtype=dtype) / channels
    angles = (places * (2 * math.pi / size))[:, None] / _TEMPERATURE**powers
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
