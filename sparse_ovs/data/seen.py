"""A dataset without the classes that its training never shows: what a head may be trained with."""

from __future__ import annotations

import numpy as np

from sparse_ovs.data.dataset import IGNORE, Inspection, Sample, SegmentationDataset


def only_seen(dataset: SegmentationDataset) -> SegmentationDataset:
    """The same images, with seen classes alone, unseen ones as IGNORE. Were the names of unseen
    classes among those that a head chooses from in training, it would learn to never choose them.

    Args:
        dataset: with `unseen`, class numbers; one without is returned as it is.
    """
    return _OnlySeen(dataset) if getattr(dataset, "unseen", None) else dataset


class _OnlySeen(SegmentationDataset):
    def __init__(self, dataset: SegmentationDataset) -> None:
        unseen: frozenset[int] = dataset.unseen  # type: ignore[attr-defined]
        seen = [k for k in range(len(dataset.classes)) if k not in unseen]
        self._dataset = dataset
        self.name, self.background = dataset.name, dataset.background
        self.classes = tuple(dataset.classes[k] for k in seen)
        # The last is found by IGNORE, -1.
        self._place = np.full(len(dataset.classes) + 1, IGNORE, np.int32)
        self._place[seen] = np.arange(len(seen))
        if hasattr(dataset, "caption"):
            self.caption = dataset.caption

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self._dataset[index]
        return Sample(sample.name, sample.image, self._place[sample.labels])

    def name_of(self, index: int) -> str:
        return self._dataset.name_of(index)

    def inspect(self, index: int) -> Inspection:
        found = self._dataset.inspect(index)
        return Inspection(self._place[found.labels], found.unknown)
