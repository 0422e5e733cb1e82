"""Sums over many rows, cut into parts that run at once and are added in a fixed order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparse_ovs.kernels.launch import launch
from sparse_ovs.kernels.tiles import Tile

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


def sum_in_parts(
    kernel: Any,
    tensors: tuple[Tensor, ...],
    numbers: tuple[int, ...],
    count: int,
    block: tuple[int, int],
    tile: Tile,
    precision: str,
    **constants: object,
) -> Tensor:
    """(count, R, C): one program for each block and part of the rows, parts added in float32.

    Args:
        kernel: takes tensors, parts, numbers, count and the rows a part.
        tensors: the first has the sums' dtype and device.
        numbers: the first are the rows.
        count, block: of the stored blocks (R, C).
    """
    like = tensors[0]
    length, splits = split_rows(numbers[0], count, tile.rows)
    dtype = like.dtype if splits == 1 else torch.float32
    parts = like.new_empty((splits, count, *block), dtype=dtype)
    constants |= tile.weight_gradient_constants(block, precision)
    launch(kernel, splits * count, (*tensors, parts), (*numbers, count, length), **constants)
    return parts[0] if splits == 1 else parts.sum(0).to(like.dtype)
