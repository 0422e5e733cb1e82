"""semantic: a class for every pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from sparse_ovs.predictor import Task
from sparse_ovs.segmenter.result import Result
from sparse_ovs.segmenter.segmenter import Segmenter

# Scores of all classes that are kept without being asked for, in bytes.
_SCORES_BY_DEFAULT = 1 << 28


@dataclass(frozen=True)
class Semantic(Task[Segmenter]):
    """See `Segmenter.predict`."""

    name = "semantic"
    needs = Segmenter
    scores: bool | None = None

    def start(self, predictor: Segmenter) -> Callable[[Image.Image], Result]:
        def one(picture: Image.Image) -> Result:
            made = predictor.scores(predictor.to_input(picture))
            keep = self.scores
            if keep is None:
                keep = made.classes * picture.height * picture.width * 4 <= _SCORES_BY_DEFAULT
            decision = made.decide(predictor.frame(picture), scores=keep)
            return predictor.result(decision, picture)

        return one
