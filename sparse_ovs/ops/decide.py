"""One class a pixel, from scores on a coarse grid or from queries' masks, by the native library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.threads import get_num_threads


class MaskWindow(NamedTuple):
    """What a head that predicts masks saw in a window of its encoder's input.

    Attributes:
        top, left, h, w: pixels of the input.
        probabilities: (Q, K) by query and class.
        logits: (Q, h', w') of the masks, whose cells cover the window evenly.
    """

    top: int
    left: int
    h: int
    w: int
    probabilities: Tensor
    logits: Tensor


def decide(
    grid: Tensor,
    size: tuple[int, int],
    logits: bool,
    confidence: bool,
    scores: bool,
    covered: tuple[float, float] | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Upsamples scores bilinearly (as F.interpolate, align_corners=False); argmax over classes.

    Args:
        grid: (K, h, w) float32 on the CPU; copied if not contiguous.
        size: (H, W).
        logits: whether a softmax makes probabilities of the upsampled scores.
        confidence, scores: whether to make them.
        covered: how many of the grid's rows and columns the image lies over, from the first on;
            None for all.

    Returns:
        Labels (H, W) int64, the first class of equal ones; their probability (H, W); all
        probabilities (K, H, W).
    """
    grid = grid.contiguous()
    classes, height, width = grid.shape
    made, to = _outputs(classes, size, confidence, scores)
    shape = (classes, height, width)
    covered = covered or (float(height), float(width))
    _native.decide(shape, grid.data_ptr(), covered, logits, to, get_num_threads())
    return made


def decide_masks(
    windows: Sequence[MaskWindow],
    input_size: tuple[int, int],
    size: tuple[int, int],
    at_image: bool,
    confidence: bool,
    scores: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Argmax of the sum over queries of a class's probability times the mask's (MaskFormer,
    arXiv 2107.06278, section 3.4).

    Masks are never held at the size of the input or the image: rows of pixels are upsampled and
    summed, their argmax taken, one after another. Queries whose probabilities together change no
    score by more than 1e-6 are left out.

    Args:
        windows: float32 on the CPU; copied if not contiguous. Sums are averaged where windows
            overlap, and 0 where none lies.
        input_size: rows and columns of the input that the image fills, from the first on.
        size: (H, W) of the image.
        at_image: whether logits are upsampled to the image (by way of the input) and summed there;
            else sums at the input are upsampled. One window alone.
        confidence, scores: whether to make them.

    Returns:
        As `decide`; probabilities are the sums, more than 1 where masks overlap.
    """
    windows = [
        window._replace(
            probabilities=window.probabilities.contiguous(), logits=window.logits.contiguous()
        )
        for window in windows
    ]
    classes = windows[0].probabilities.shape[1]
    made, to = _outputs(classes, size, confidence, scores)
    _native.decide_masks(
        [
            (
                *window[:4],
                *window.logits.shape,
                window.logits.data_ptr(),
                window.probabilities.data_ptr(),
            )
            for window in windows
        ],
        classes,
        input_size,
        at_image,
        to,
        get_num_threads(),
    )
    return made


def _outputs(
    classes: int, size: tuple[int, int], confidence: bool, scores: bool
) -> tuple[tuple[Tensor, Tensor | None, Tensor | None], _native.Decisions]:
    labels = torch.empty(size, dtype=torch.int64)
    sure = torch.empty(size) if confidence else None
    everything = torch.empty(classes, *size) if scores else None
    to = _native.Decisions(
        *size,
        labels.data_ptr(),
        None if sure is None else sure.data_ptr(),
        None if everything is None else everything.data_ptr(),
    )
    return (labels, sure, everything), to


def decide_unsupported(given: Tensor) -> list[str]:
    """Reasons why the library takes no argmax of such scores or masks; empty if it does."""
    reasons = []
    if given.device.type != "cpu":
        reasons.append(f"{given.device.type} has no kernel")
    elif _native.unavailable_reason():
        reasons.append(_native.unavailable_reason())
    if given.dtype != torch.float32:
        reasons.append(f"{str(given.dtype).removeprefix('torch.')} has no CPU kernel")
    return reasons
