"""Sliding windows: where they lie, and how their scores become those of the whole image."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

Window = tuple[slice, slice]


def window_starts(length: int, window: int, unit: int, overlap: float) -> list[int]:
    """Where windows start along one side, evenly spread, the first at 0, the last at the end.

    Args:
        length: of the side, a multiple of unit.
        window: its length; one window where it is at least the side's.
        unit: starts are multiples of it.
        overlap: fraction of a window that neighbours share at least (up to rounding to units).
    """
    if window >= length:
        return [0]
    rest = (length - window) // unit
    step = max(1, math.floor(window * (1 - overlap) / unit))
    count = math.ceil(rest / step) + 1
    return [round(rest * index / (count - 1)) * unit for index in range(count)]


def windows(height: int, width: int, window: int | None, unit: int, overlap: float) -> list[Window]:
    """Windows that cover an image, row by row; the whole image as one where window is None."""
    if window is None:
        return [(slice(0, height), slice(0, width))]
    return [
        (slice(top, min(top + window, height)), slice(left, min(left + window, width)))
        for top in window_starts(height, window, unit, overlap)
        for left in window_starts(width, window, unit, overlap)
    ]


def merge_windows(parts: Iterable[tuple[Window, Tensor]], height: int, width: int) -> Tensor:
    """Scores of windows as those of the whole image: the mean where windows overlap.

    Args:
        parts: windows in pixels, and their scores (K, h, w), whose cells are alike in all windows
            and divide their starts.
        height, width: of the whole image in pixels.

    Returns:
        (K, H / cell, W / cell).
    """
    total, count = None, None
    for (rows, columns), scores in parts:
        cell_h = (rows.stop - rows.start) // scores.shape[1]
        cell_w = (columns.stop - columns.start) // scores.shape[2]
        if total is None or count is None:
            total = scores.new_zeros(len(scores), height // cell_h, width // cell_w)
            count = scores.new_zeros(total.shape[1:])
        place = (
            slice(rows.start // cell_h, rows.stop // cell_h),
            slice(columns.start // cell_w, columns.stop // cell_w),
        )
        total[(slice(None), *place)] += scores
        count[place] += 1
    assert total is not None
    assert count is not None
    return torch.div(total, count)
