"""From scores at a head's resolution to one class a pixel, whatever the number of classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs import ops

# Values that are held at once, of one chunk of classes in one strip of rows: 64 MB of fp32.
_MOST_VALUES = 1 << 24


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


def decide(
    grid: Tensor,
    size: tuple[int, int],
    class_chunk: int,
    logits: bool,
    confidence: bool = True,
    scores: bool = False,
) -> Decision:
    """Enlarges scores bilinearly (as F.interpolate, align_corners=False) and takes the best class,
    without holding all enlarged scores beside the results: natively on CPUs, elsewhere by a running
    maximum over chunks of classes and strips of rows.

    Args:
        grid: (K, h, w) float32.
        size: (H, W).
        class_chunk: classes at a time, where no kernel does it.
        logits: whether a softmax makes probabilities of the scores; otherwise they are some, and
            what is above 1, sums of masks that overlap, counts as 1 but in the choice of the class.
    """
    if class_chunk < 1:
        raise ValueError(f"expected a class_chunk of at least 1, got {class_chunk}")
    if not ops.decide_unsupported(grid):
        made = Decision(*ops.decide(grid, size, logits, confidence, scores))
    else:
        made = _by_chunks(grid, size, class_chunk, logits, confidence, scores)
    if not logits:
        for probabilities in (made.confidence, made.scores):
            if probabilities is not None:
                probabilities.clamp_(max=1)
    return made


def _by_chunks(
    grid: Tensor,
    size: tuple[int, int],
    class_chunk: int,
    logits: bool,
    confidence: bool,
    scores: bool,
) -> Decision:
    classes, (height, width) = len(grid), size
    labels = torch.empty(size, dtype=torch.int64, device=grid.device)
    sure = torch.empty(size, device=grid.device) if confidence else None
    everything = torch.empty(classes, *size, device=grid.device) if scores else None
    wants_total = logits and (confidence or scores)
    rows = max(1, _MOST_VALUES // (min(class_chunk, classes) * width))
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        best, label, total = None, None, None
        for first, values in _enlarged(grid, size, strip, class_chunk):
            high, index = values.max(0)
            if best is None or label is None:
                best, label = high, index
            else:
                label = torch.where(high > best, index + first, label)
                best = torch.maximum(best, high)
            if wants_total:
                part = values.logsumexp(0)
                total = part if total is None else torch.logaddexp(total, part)
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


def _enlarged(
    grid: Tensor, size: tuple[int, int], strip: slice, class_chunk: int
) -> Iterator[tuple[int, Tensor]]:
    """(first class, (k, strip, W)) of each chunk."""
    height, width = size
    at = (torch.arange(strip.start, strip.stop, device=grid.device) + 0.5) * (
        grid.shape[1] / height
    ) - 0.5
    at = at.clamp(0, grid.shape[1] - 1)
    above = at.floor().long()
    below = (above + 1).clamp(max=grid.shape[1] - 1)
    weight = (at - above).to(grid.dtype)[:, None]  # (strip, 1)
    for first in range(0, len(grid), class_chunk):
        part = grid[first : first + class_chunk]
        # Rows of the grid stay; only columns are enlarged here.
        wide = F.interpolate(
            part[None], (grid.shape[1], width), mode="bilinear", align_corners=False
        )[0]
        yield first, torch.lerp(wide[:, above], wide[:, below], weight)
