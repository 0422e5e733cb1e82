"""From scores at a head's resolution to one class a pixel, whatever the number of classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs import ops
from sparse_ovs.heads.frame import Frame
from sparse_ovs.heads.strips import MOST_VALUES, strips, upsampled_rows


@dataclass(frozen=True)
class Decision:
    """Of every pixel.

    Attributes:
        labels: (H, W) int64, the class of the highest score, the first where several are.
        confidence: (H, W) float32, its probability; None where it was not asked for.
        scores: (K, H, W) float32 probabilities; None where they were not asked for.
    """

    labels: Tensor
    confidence: Tensor | None
    scores: Tensor | None

    def at_most_1(self) -> Decision:
        """Sums of probabilities of masks that overlap, told as 1 where they are more."""
        for probabilities in (self.confidence, self.scores):
            if probabilities is not None:
                probabilities.clamp_(max=1)
        return self


def decide(
    grid: Tensor,
    frame: Frame,
    class_chunk: int,
    logits: bool,
    confidence: bool = True,
    scores: bool = False,
) -> Decision:
    """Upsamples scores bilinearly (as F.interpolate, align_corners=False) and takes the best class,
    without holding all upsampled scores beside the results: natively on CPUs, elsewhere by a
    running maximum over chunks of classes and strips of rows.

    Args:
        grid: (K, h, w) float32, whose cells cover the encoder's input evenly.
        frame: where the picture lies in it.
        class_chunk: classes at a time, where no kernel does it.
        logits: whether a softmax makes probabilities of the scores; otherwise they are some, and
            what is above 1, sums of masks that overlap, counts as 1 but in the choice of the class.
    """
    if class_chunk < 1:
        raise ValueError(f"expected a class_chunk of at least 1, got {class_chunk}")
    covered = frame.covered((grid.shape[1], grid.shape[2]))
    if not ops.decide_unsupported(grid):
        made = Decision(*ops.decide(grid, frame.picture, logits, confidence, scores, covered))
    else:
        made = _by_chunks(grid, frame, class_chunk, logits, confidence, scores)
    return made if logits else made.at_most_1()


def _by_chunks(
    grid: Tensor,
    frame: Frame,
    class_chunk: int,
    logits: bool,
    confidence: bool,
    scores: bool,
) -> Decision:
    covered = frame.covered((grid.shape[1], grid.shape[2]))
    labels = torch.empty(frame.picture, dtype=torch.int64, device=grid.device)
    sure = torch.empty(frame.picture, device=grid.device) if confidence else None
    everything = torch.empty(len(grid), *frame.picture, device=grid.device) if scores else None
    wants_total = logits and (confidence or scores)
    for strip in strips(min(class_chunk, len(grid)), Frame.of_size(frame.picture), MOST_VALUES):
        best, label, total = None, None, None
        for first in range(0, len(grid), class_chunk):
            part = grid[first : first + class_chunk]
            values = upsampled_rows(part, frame.picture, strip, covered=covered)
            high, index = values.max(0)
            if best is None or label is None:
                best, label = high, index
            else:
                label = torch.where(high > best, index + first, label)
                best = torch.maximum(best, high)
            if wants_total:
                more = values.logsumexp(0)
                total = more if total is None else torch.logaddexp(total, more)
            if everything is not None:
                everything[first : first + len(values), strip] = values
        assert best is not None
        assert label is not None
        labels[strip] = label
        if sure is not None:
            sure[strip] = best if total is None else (best - total).exp()
        if everything is not None and total is not None:
            everything[:, strip].sub_(total).exp_()
    return Decision(labels, sure, everything)
