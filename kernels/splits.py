"""Sums over many rows, cut into parts that run at once and are added in a fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

# About what fills the largest GPUs a few times; a constant, so that no sum depends on the GPU.
_PROGRAMS = 1024
# Tiles that a program sums at least: below, the partial sums cost more than they bring.
_TILES = 8


def split_rows(rows: int, blocks: int, tile_rows: int) -> tuple[int, int]:
    """Rows a part (a multiple of tile_rows) and how many parts, at least one."""
    wanted = max(1, _PROGRAMS // max(1, blocks))
    tiles = max(1, -(-rows // tile_rows))
    length = max(_TILES, -(-tiles // wanted)) * tile_rows
    return length, max(1, -(-rows // length))


def sum_splits(parts: Tensor, dtype: torch.dtype) -> Tensor:
    """(splits, ...) -> (...), added in float32."""
    return parts[0] if parts.shape[0] == 1 else parts.sum(0).to(dtype)
