"""One class a pixel; arguments are addresses of contiguous arrays, and the GIL is released."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.structures import MaskWindow


class Decisions(NamedTuple):
    """What is written: labels int64 (h, w), and where wanted the label's probability (h, w) and all
    probabilities (classes, h, w), float32."""

    h: int
    w: int
    labels: int
    confidence: int | None
    scores: int | None


def decide(
    grid_shape: tuple[int, int, int],
    grid: int,
    covered: tuple[float, float],
    logits: bool,
    to: Decisions,
    threads: int,
) -> None:
    """By a float32 grid (K, h, w), of which the image lies over `covered` rows and columns; see
    sovs_decide."""
    h, w, *written = to
    check(library().sovs_decide(*grid_shape, grid, *covered, h, w, int(logits), *written, threads))


def decide_masks(
    windows: Sequence[tuple[int, ...]],
    classes: int,
    input_size: tuple[int, int],
    at_image: bool,
    to: Decisions,
    threads: int,
) -> None:
    """By queries' masks and classes; see sovs_decide_masks.

    Args:
        windows: the fields of sovs_mask_window of each.
    """
    made = (MaskWindow * len(windows))(*[MaskWindow(*window) for window in windows])
    check(
        library().sovs_decide_masks(
            made, len(windows), classes, *input_size, int(at_image), *to, threads
        )
    )
