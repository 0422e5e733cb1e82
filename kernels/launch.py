"""The launch of a kernel, and the map that it fills."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def tile_count(rows: int, columns: int, tile_rows: int, tile_columns: int) -> int:
    """Tiles that cover a matrix."""
    return -(-rows // tile_rows) * -(-columns // tile_columns)


def launch(
    kernel: Any,
    programs: int,
    tensors: tuple[Tensor | None, ...],
    numbers: tuple[int, ...],
    **constants: object,
) -> None:
    """Runs so many programs on the GPU of the first tensor; with none of them it does nothing."""
    if programs:
        with torch.cuda.device_of(tensors[0]):
            kernel[(programs,)](*tensors, *numbers, **constants)


def empty_nhwc(like: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """(N, C, H, W), channels_last also where a size is 1."""
    batch, channels, height, width = shape
    return like.new_empty(batch, height, width, channels).permute(0, 3, 1, 2)
