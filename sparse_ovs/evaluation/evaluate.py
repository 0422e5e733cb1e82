"""evaluate: a segmenter on a labelled dataset, one image at a time, in one process or several."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from sparse_ovs.data.dataset import SegmentationDataset
from sparse_ovs.evaluation.answers import background_rule, to_classes, vocabulary_of
from sparse_ovs.evaluation.confusion import Confusion
from sparse_ovs.evaluation.protocol import Protocol as EvaluationProtocol
from sparse_ovs.evaluation.protocol import describe_segmenter, random_parts
from sparse_ovs.evaluation.scores import VARIANTS, Scores, scores
from sparse_ovs.evaluation.unfinished import Unfinished
from sparse_ovs.loop.one_run import hold_file
from sparse_ovs.loop.processes import Alone, Processes
from sparse_ovs.text import Vocabulary


class Answers(Protocol):
    """What is evaluated: a Segmenter, or anything that answers like one."""

    def set_vocabulary(self, words: Vocabulary) -> Any:
        """Takes the classes that are asked for."""
        ...

    def predict_labels(self, image: Any) -> Tensor:
        """RGB image -> (H, W) integers: index in the vocabulary, or -1 for none of it."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Attributes: the scores, what they depend on, and the counts that they were made of."""

    scores: Scores
    protocol: EvaluationProtocol
    confusion: Confusion

    def to_dict(self) -> dict[str, Any]:
        """Protocol and scores, ready for JSON; the counts are left out."""
        return {"protocol": self.protocol.to_dict(), "scores": self.scores.to_dict()}


def evaluate(
    segmenter: Answers,
    dataset: SegmentationDataset,
    variant: str = "detectron2",
    *,
    seen: Collection[int] | None = None,
    limit: int | None = None,
    split: str = "val",
    processes: Processes | None = None,
    unfinished: str | os.PathLike[str] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores a segmenter on a dataset.

    Counts are exact integers, so that the scores do not depend on the number of processes.

    Args:
        segmenter: gets the dataset's vocabulary.
        variant: of mIoU, "detectron2" or "mmseg" (see `scores`).
        seen: indices of the classes that were seen in training.
        limit: the first images alone; None for all.
        split: that the dataset holds, for the protocol.
        processes: that share the images, each of which calls this; by default this one alone.
        unfinished: where counts are kept while it runs: a killed evaluation that is started again
            goes on from them. Removed in the end.
        on_image: called after each image with the number that this process has done, and has to do.

    Raises:
        ValueError: an argument out of its range, an empty dataset, answers that do not fit, or
            another run that keeps its counts in `unfinished` (PlaceInUse).
        FileFormatError: `unfinished` belongs to another evaluation.
    """
    if variant not in VARIANTS:
        raise ValueError(f"expected variant {' or '.join(VARIANTS)}, got {variant!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of at least 1 image, got {limit}")
    if not len(dataset):
        raise ValueError(f"expected images in {dataset.name}, got none")
    processes = processes or Alone()
    images = min(len(dataset), limit or len(dataset))
    protocol = EvaluationProtocol(
        dataset=dataset.name,
        split=split,
        images=images,
        images_in_split=len(dataset),
        classes=len(dataset.classes),
        names_asked=len(dataset.vocabulary),
        variant=variant,
        background=background_rule(dataset),
        ignore="pixels without a label count neither as labelled nor as predicted",
        scored_at=_scored_at(dataset),
        segmenter=describe_segmenter(segmenter),
        random_weights=random_parts(segmenter),
        processes=processes.count,
    )
    mine = range(processes.index, images, processes.count)
    kept = None
    before, own = 0, Confusion.empty(len(dataset.classes))
    with ExitStack() as stack:
        if unfinished is not None:
            asked = {"names": list(dataset.vocabulary), **protocol.to_dict()}
            kept = Unfinished(Path(unfinished), asked, segmenter, processes)
            stack.enter_context(hold_file(kept.path))
            before, own = kept.read(len(dataset.classes))
        segmenter.set_vocabulary(vocabulary_of(dataset))
        for done, index in enumerate(mine[before:], before + 1):
            _count(segmenter, dataset, index, own)
            if kept is not None:
                kept.write(done, own)
            if on_image is not None:
                on_image(done, len(mine))
        confusion = Confusion(processes.gather(own.counts).sum(0))
        if kept is not None:
            kept.remove()
    return Evaluation(scores(confusion, dataset.classes, variant, seen), protocol, confusion)


def _count(
    segmenter: Answers, dataset: SegmentationDataset, index: int, confusion: Confusion
) -> None:
    sample = dataset[index]
    answers = segmenter.predict_labels(sample.image).cpu().numpy()
    try:
        confusion.add(to_classes(answers, dataset), sample.labels)
    except ValueError as error:
        raise ValueError(f"{dataset.name}, image {sample.name}: {error}") from error


def _scored_at(dataset: SegmentationDataset) -> str:
    short_side = getattr(dataset, "short_side", None)
    if short_side is None:
        return "the labels' own size"
    return f"the labels' own size, shorter sides above {short_side} pixels made {short_side}"
