"""What a head says of an image, window by window, until the image's pixels are decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sparse_ovs.heads import Head
from sparse_ovs.heads.frame import Frame
from sparse_ovs.ops import MaskWindow
from sparse_ovs.predictor.windows import Window, merge_windows
from sparse_ovs.segmenter.decide import Decision, decide
from sparse_ovs.segmenter.decide_masks import decide_masks
from sparse_ovs.segmenter.mask_predictor import MaskPredictor
from sparse_ovs.segmenter.options import Options


@dataclass(frozen=True)
class CellScores:
    """Scores by class and cell.

    Attributes:
        grid: (K, h, w) float32, whose cells cover the encoder's input evenly.
        logits: whether a softmax makes probabilities of them.
    """

    grid: Tensor
    logits: bool

    @property
    def classes(self) -> int:
        return len(self.grid)

    def decide(
        self, frame: Frame, class_chunk: int = 64, confidence: bool = True, scores: bool = False
    ) -> Decision:
        """See `sparse_ovs.segmenter.decide`."""
        return decide(self.grid, frame, class_chunk, self.logits, confidence, scores)


@dataclass(frozen=True)
class MaskScores:
    """Queries with masks and classes, of each window.

    Attributes:
        windows: see MaskWindow.
        at_image: see `sparse_ovs.segmenter.decide_masks`.
    """

    windows: Sequence[MaskWindow]
    at_image: bool

    @property
    def classes(self) -> int:
        return self.windows[0].probabilities.shape[1]

    def decide(
        self, frame: Frame, class_chunk: int = 64, confidence: bool = True, scores: bool = False
    ) -> Decision:
        """See `sparse_ovs.segmenter.decide_masks`; class_chunk is not read."""
        return decide_masks(self.windows, frame, self.at_image, confidence, scores)


Scores = CellScores | MaskScores
# What a head gives of one window that is to be decided: (K, h, w), or (Q, K) and (Q, h, w).
Said = tuple[Tensor, ...]


def window_scores(head: Head, output: Any, options: Options) -> Said:
    """A head's output for one image -> probabilities (Q, K) of its queries and logits (Q, h, w) of
    their masks; where it has none, or masks are added up at their own size, scores (K, h, w)."""
    if isinstance(head, MaskPredictor) and options.mask_order != "cheap":
        probabilities = head.class_probabilities(output)[0, :, :-1]
        return probabilities.contiguous(), output.mask_logits[0].float()
    return (head.predict(output)[0],)


def image_scores(
    head: Head,
    said: Sequence[tuple[Window, Said]],
    size: tuple[int, int],
    options: Options,
) -> Scores:
    """Joins what `window_scores` gave of each window of an input of that size."""
    if len(said[0][1]) == 1:
        grid = merge_windows(((place, scores) for place, (scores,) in said), *size)
        return CellScores(grid, logits=not head.probabilities)
    windows = [
        MaskWindow(
            rows.start,
            columns.start,
            rows.stop - rows.start,
            columns.stop - columns.start,
            *queries,
        )
        for (rows, columns), queries in said
    ]
    return MaskScores(windows, at_image=options.mask_order == "image" and len(windows) == 1)
