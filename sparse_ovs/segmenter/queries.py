"""Panoptic and instance results from the queries of a head that predicts masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from sparse_ovs.heads import Head
from sparse_ovs.heads.frame import Frame
from sparse_ovs.heads.instances import instances
from sparse_ovs.heads.panoptic import panoptic
from sparse_ovs.segmenter.segments import (
    FoundInstance,
    FoundSegment,
    InstanceResult,
    PanopticResult,
)
from sparse_ovs.text import Vocabulary


@runtime_checkable
class MaskPredictor(Protocol):
    """A head whose output has `mask_logits`, (N, Q, h, w)."""

    def class_probabilities(self, output: Any) -> Tensor:
        """(N, Q, K + 1), the last of "no object"."""


def mask_predictor(head: Head, result: str) -> MaskPredictor:
    """The head, which has to predict masks for such a result.

    Raises:
        ValueError: it predicts none.
    """
    if not isinstance(head, MaskPredictor):
        raise ValueError(
            f"expected a head that predicts masks for {result} results, got {head.name}, which "
            "scores pixels"
        )
    return head


def which_are_things(vocabulary: Vocabulary, things: Sequence[str] | None) -> list[bool]:
    """By class; all where None.

    Args:
        things: names of classes.

    Raises:
        ValueError: a name of no class.
        TypeError: a string, not several.
    """
    if things is None:
        return [True] * len(vocabulary)
    if isinstance(things, str):
        raise TypeError(f"expected a list of names of things, got {things!r}")
    found = [False] * len(vocabulary)
    for name in things:
        index = vocabulary.index(name)
        if index is None:
            raise ValueError(
                f"expected things among the classes {', '.join(vocabulary.names)}, got {name!r}"
            )
        found[index] = True
    return found


def without_background(probabilities: Tensor, classes: int, background: int | None) -> Tensor:
    """Probabilities (Q, classes + 1) of queries, with the background's added to "no object".

    Args:
        probabilities: (Q, classes + 1), or one more where the background is no class of the
            vocabulary and stands behind them.
        background: index of its column; None for none.
    """
    if background is None:
        return probabilities
    made = probabilities[:, : classes + 1].clone()
    if background < classes:
        made[:, background] = 0
    made[:, -1] = probabilities[:, background] + probabilities[:, -1]
    return made


def panoptic_result(
    probabilities: Tensor,
    masks: Tensor,
    things: Sequence[bool],
    object_threshold: float,
    overlap: float,
    vocabulary: Vocabulary,
    frame: Frame,
    picture: Image.Image,
) -> PanopticResult:
    """See `sparse_ovs.heads.panoptic`; the segments at the picture's size."""
    ids, found = panoptic(probabilities, masks, things, object_threshold, overlap, frame)
    areas = ids.flatten().bincount(minlength=len(found) + 1).tolist()
    segments = [
        FoundSegment(s.id, vocabulary.names[s.index], s.index, s.thing, s.score, areas[s.id])
        for s in found
    ]
    segments.sort(key=lambda segment: -segment.area)
    return PanopticResult(ids.cpu(), tuple(segments), vocabulary, picture)


def instance_result(
    probabilities: Tensor,
    masks: Tensor,
    things: Sequence[bool],
    top: int,
    vocabulary: Vocabulary,
    frame: Frame,
    picture: Image.Image,
) -> InstanceResult:
    """See `sparse_ovs.heads.instances`; masks at the picture's size, none that is empty or
    impossible."""
    found = instances(probabilities, masks, things, top, frame)
    areas = [int(torch.count_nonzero(one.mask)) for one in found]
    made = tuple(
        FoundInstance(vocabulary.names[one.index], one.index, one.score, area, one.mask.cpu())
        for one, area in zip(found, areas, strict=True)
        if area and one.score > 0
    )
    return InstanceResult(made, vocabulary, picture)
