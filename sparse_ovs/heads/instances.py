"""Instance segmentation of predicted masks: scored masks of things, which may overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparse_ovs.heads.frame import Frame
from sparse_ovs.heads.panoptic import check_queries
from sparse_ovs.heads.strips import framed_rows, strips


@dataclass(frozen=True)
class Instance:
    """One thing.

    Attributes:
        index: of the vocabulary.
        score: the class's probability times the mask's mean probability inside it.
        mask: (H, W) bool.
    """

    index: int
    score: float
    mask: Tensor = field(repr=False)


def instances(
    probabilities: Tensor,
    masks: Tensor,
    things: Sequence[bool],
    top: int = 100,
    frame: Frame | None = None,
) -> list[Instance]:
    """The likeliest pairs of a query and a class, those of things, the highest score first
    (Mask2Former, arXiv 2112.01527, appendix A). A mask may come several times, with another class
    each time, and masks may overlap; a mask without a pixel scores 0.

    Args:
        probabilities: (Q, K + 1), the last of "no object".
        masks: (Q, h, w) logits; pixels above 1/2 are inside.
        things: by class.
        top: pairs that are looked at.
        frame: see `panoptic`.

    Raises:
        ValueError: another number of masks or classes, or a top below 1.
    """
    check_queries(probabilities, masks, things)
    if top < 1:
        raise ValueError(f"expected a top of at least 1, got {top}")
    frame = frame or Frame.of_size((masks.shape[1], masks.shape[2]))
    pairs = probabilities[:, :-1].flatten()
    scores, places = pairs.topk(min(top, len(pairs)))
    kept = torch.tensor([bool(things[place % len(things)]) for place in places.tolist()])
    scores, places = scores[kept], places[kept]
    if len(scores) == 0:
        return []
    queries, which = torch.unique(places // len(things), return_inverse=True)
    inside = torch.zeros(len(queries), *frame.picture, dtype=torch.bool, device=masks.device)
    total = torch.zeros(len(queries), dtype=torch.float64, device=masks.device)
    masks = masks[queries]
    for strip in strips(len(masks), frame):
        logits = framed_rows(masks, frame, strip)
        inside[:, strip] = logits > 0
        total += torch.where(logits > 0, logits.sigmoid(), 0).sum((1, 2), dtype=torch.float64)
    sure = total / inside.sum((1, 2)).clamp(min=1)
    found = [
        Instance(place % len(things), score * float(sure[query]), inside[query])
        for place, score, query in zip(
            places.tolist(), scores.tolist(), which.tolist(), strict=True
        )
    ]
    return sorted(found, key=lambda instance: -instance.score)
