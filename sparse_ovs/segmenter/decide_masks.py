"""From queries' masks and classes to one class a pixel, in the order of the originals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparse_ovs import ops
from sparse_ovs.heads.frame import Frame
from sparse_ovs.heads.strips import framed_rows, from_input, input_rows, strips, upsampled_rows
from sparse_ovs.ops import MaskWindow
from sparse_ovs.segmenter.decide import Decision


def decide_masks(
    windows: Sequence[MaskWindow],
    frame: Frame,
    at_image: bool,
    confidence: bool = True,
    scores: bool = False,
) -> Decision:
    """Takes the best class by the sum over queries of a class's probability times the mask's, as
    MaskFormer (arXiv 2107.06278, section 3.4) does: logits are upsampled to the encoder's input,
    sums of probabilities there, the mean where windows overlap, are cut to the picture and
    upsampled to its size. Natively on CPUs, elsewhere by strips of rows: masks of all queries are
    never held at the picture's size.

    Args:
        windows: at least one.
        frame: where the picture lies in the input.
        at_image: upsample logits to the picture and sum there instead; one window alone.

    Returns:
        Probabilities are the sums, told as 1 where they are more.
    """
    if not ops.decide_unsupported(windows[0].logits):
        made = ops.decide_masks(windows, frame.content, frame.picture, at_image, confidence, scores)
        return Decision(*made).at_most_1()
    return _by_strips(windows, frame, at_image, confidence, scores).at_most_1()


def _by_strips(
    windows: Sequence[MaskWindow], frame: Frame, at_image: bool, confidence: bool, scores: bool
) -> Decision:
    probabilities = windows[0].probabilities
    queries, classes = probabilities.shape
    labels = torch.empty(frame.picture, dtype=torch.int64, device=probabilities.device)
    like = probabilities.new_empty
    sure = like(frame.picture) if confidence else None
    everything = like(classes, *frame.picture) if scores else None
    for strip in strips(max(queries, classes), frame):
        if at_image:
            values = _add_up(probabilities, framed_rows(windows[0].logits, frame, strip))
        else:
            needed = input_rows(frame, strip)
            values = from_input(_at_input(windows, frame, needed), frame, needed, strip)
        best, labels[strip] = values.max(0)
        if sure is not None:
            sure[strip] = best
        if everything is not None:
            everything[:, strip] = values
    return Decision(labels, sure, everything)


def _at_input(windows: Sequence[MaskWindow], frame: Frame, rows: slice) -> Tensor:
    """(K, rows, w) of the input's content."""
    classes = windows[0].probabilities.shape[1]
    total = windows[0].logits.new_zeros(classes, rows.stop - rows.start, frame.padded[1])
    count = total.new_zeros(total.shape[1:])
    for window in windows:
        top, bottom = max(rows.start, window.top), min(rows.stop, window.top + window.h)
        if top >= bottom:
            continue
        part = upsampled_rows(
            window.logits, (window.h, window.w), slice(top - window.top, bottom - window.top)
        )
        place = (
            slice(top - rows.start, bottom - rows.start),
            slice(window.left, window.left + window.w),
        )
        total[(slice(None), *place)] += _add_up(window.probabilities, part)
        count[place] += 1
    return total.div_(count.clamp_(min=1))[..., : frame.content[1]]


def _add_up(probabilities: Tensor, logits: Tensor) -> Tensor:
    """Of queries, (Q, K) and (Q, rows, w) -> (K, rows, w)."""
    return (probabilities.T @ logits.sigmoid().flatten(1)).unflatten(1, logits.shape[1:])
