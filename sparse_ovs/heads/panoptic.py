"""Panoptic segmentation of predicted masks: each pixel belongs to one segment at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs.heads.frame import Frame
from sparse_ovs.heads.strips import framed_rows, strips


@dataclass(frozen=True)
class PanopticSegment:
    """Pixels of one thing, or of all stuff of one class.

    Attributes:
        id: in the map, from 1.
        index: of the vocabulary.
        thing: whether it is a thing.
        score: the class's probability, the highest of the masks that it is made of.
    """

    id: int
    index: int
    thing: bool
    score: float


def panoptic(
    probabilities: Tensor,
    masks: Tensor,
    things: Sequence[bool],
    object_threshold: float = 0.0,
    overlap: float = 0.8,
    frame: Frame | None = None,
) -> tuple[Tensor, list[PanopticSegment]]:
    """Pixels go to the mask of the highest class probability times mask probability, where the
    mask has at least 1/2; masks that keep less than `overlap` of their own pixels are dropped
    (MaskFormer, arXiv 2107.06278, section 3.4).

    Args:
        probabilities: (Q, K + 1), the last of "no object".
        masks: (Q, h, w) logits.
        things: by class; masks of a class that is none become one segment.
        object_threshold: queries of at most this probability are dropped.
        overlap: see above.
        frame: the picture that masks are upsampled to, strip by strip, by way of the encoder's
            input, as Mask2Former does; None for masks of the picture's size.

    Returns:
        Ids (H, W) int32, 0 for none, and the segments.

    Raises:
        ValueError: another number of masks or classes.
    """
    check_queries(probabilities, masks, things)
    frame = frame or Frame.of_size((masks.shape[1], masks.shape[2]))
    scores, classes = probabilities.max(-1)
    kept = (classes < len(things)) & (scores > object_threshold)
    scores, classes, masks = scores[kept], classes[kept], masks[kept]
    ids = torch.zeros(frame.picture, dtype=torch.int32, device=masks.device)
    count = len(masks)
    if count == 0:
        return ids, []
    owner = torch.empty(frame.picture, dtype=torch.int64, device=masks.device)
    own, inside, won = (ids.new_zeros(count, dtype=torch.int64) for _ in range(3))
    for strip in strips(count, frame):
        logits = framed_rows(masks, frame, strip)
        best = (logits.sigmoid() * scores[:, None, None]).argmax(0)
        sure = logits.gather(0, best[None])[0] >= 0  # a probability of at least 1/2
        own += (logits >= 0).sum((1, 2))
        won += best.flatten().bincount(minlength=count)
        inside += best[sure].bincount(minlength=count)
        owner[strip] = torch.where(sure, best, count)
    valid = (inside > 0) & (won >= overlap * own)
    table = ids.new_zeros(count + 1)
    segments: list[PanopticSegment] = []
    stuff: dict[int, int] = {}  # place among the segments by class
    for query in valid.nonzero().flatten().tolist():
        index, score = int(classes[query]), float(scores[query])
        place = stuff.get(index, len(segments))
        if place == len(segments):
            segments.append(PanopticSegment(place + 1, index, bool(things[index]), score))
            if not things[index]:
                stuff[index] = place
        elif score > segments[place].score:
            segments[place] = PanopticSegment(place + 1, index, False, score)
        table[query] = place + 1
    return table[owner], segments


def check_queries(probabilities: Tensor, masks: Tensor, things: Sequence[bool]) -> None:
    """Raises ValueError where shapes do not fit each other."""
    wanted = (len(masks), len(things) + 1)
    if tuple(probabilities.shape) != wanted or masks.dim() != 3:
        raise ValueError(
            f"expected probabilities {wanted} of masks (Q, h, w) and {len(things)} classes, got "
            f"{tuple(probabilities.shape)} and {tuple(masks.shape)}"
        )
