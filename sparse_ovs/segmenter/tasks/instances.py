"""instances: things by falling score, with masks that may overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from sparse_ovs.heads.instances import instances
from sparse_ovs.predictor import Task
from sparse_ovs.segmenter.mask_predictor import mask_predictor
from sparse_ovs.segmenter.segmenter import Segmenter
from sparse_ovs.segmenter.segments import FoundInstance, InstanceResult
from sparse_ovs.segmenter.tasks.queries import queries_of, which_are_things


@dataclass(frozen=True)
class Instances(Task[Segmenter]):
    """See `Segmenter.predict_instances`; masks at the picture's size, none that is empty or
    impossible."""

    name = "instances"
    needs = Segmenter
    things: Sequence[str] | None = None
    top: int = 100

    def check(self, predictor: Segmenter) -> None:
        mask_predictor(predictor.head, "instance")

    def start(self, predictor: Segmenter) -> Callable[[Image.Image], InstanceResult]:
        classes, _ = predictor.classes_and_text()
        are_things = which_are_things(classes, self.things)

        def one(picture: Image.Image) -> InstanceResult:
            queries, frame = queries_of(predictor, picture), predictor.frame(picture)
            found = instances(*queries, are_things, self.top, frame)
            areas = [int(torch.count_nonzero(one.mask)) for one in found]
            made = tuple(
                FoundInstance(classes.names[one.index], one.index, one.score, area, one.mask.cpu())
                for one, area in zip(found, areas, strict=True)
                if area and one.score > 0
            )
            return InstanceResult(made, classes, picture)

        return one
