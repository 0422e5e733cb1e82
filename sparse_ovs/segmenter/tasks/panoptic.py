"""panoptic: each pixel to one thing, or to all stuff of a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from sparse_ovs.heads.panoptic import panoptic
from sparse_ovs.predictor import Task
from sparse_ovs.segmenter.mask_predictor import mask_predictor
from sparse_ovs.segmenter.segmenter import Segmenter
from sparse_ovs.segmenter.segments import FoundSegment, PanopticResult
from sparse_ovs.segmenter.tasks.queries import queries_of, which_are_things


@dataclass(frozen=True)
class Panoptic(Task[Segmenter]):
    """See `Segmenter.predict_panoptic`; segments are found at the picture's size."""

    name = "panoptic"
    needs = Segmenter
    things: Sequence[str] | None = None
    overlap: float = 0.8

    def check(self, predictor: Segmenter) -> None:
        mask_predictor(predictor.head, "panoptic")

    def start(self, predictor: Segmenter) -> Callable[[Image.Image], PanopticResult]:
        classes, _ = predictor.classes_and_text()
        are_things = which_are_things(classes, self.things)
        background = predictor.options.background
        threshold = background if isinstance(background, (int, float)) else 0.0

        def one(picture: Image.Image) -> PanopticResult:
            queries, frame = queries_of(predictor, picture), predictor.frame(picture)
            ids, found = panoptic(*queries, are_things, threshold, self.overlap, frame)
            areas = ids.flatten().bincount(minlength=len(found) + 1).tolist()
            segments = [
                FoundSegment(s.id, classes.names[s.index], s.index, s.thing, s.score, areas[s.id])
                for s in found
            ]
            segments.sort(key=lambda segment: -segment.area)
            return PanopticResult(ids.cpu(), tuple(segments), classes, picture)

        return one
