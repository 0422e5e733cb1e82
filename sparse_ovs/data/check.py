"""Reads a whole dataset once and says what is in it and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sparse_ovs.data.dataset import IGNORE, SegmentationDataset


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        images: that were read.
        pixels: by class, int64 (K,).
        images_with: in how many images each class is, int64 (K,).
        ignored: pixels that do not count, unknown ids among them.
        unknown: raw ids that are neither a class nor known to carry none -> pixels.
        unknown_in: an image for each of them.
        unreadable: image -> what is wrong.
    """

    images: int
    pixels: np.ndarray
    images_with: np.ndarray
    ignored: int
    unknown: dict[int, int]
    unknown_in: dict[int, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not self.unknown and not self.unreadable


def check(
    dataset: SegmentationDataset,
    limit: int | None = None,
    say: Callable[[int, int], None] = lambda done, total: None,
) -> CheckReport:
    """Reads every image and its labels, or the first `limit`.

    Args:
        say: called with how many are read and how many there are.
    """
    classes = len(dataset.classes)
    total = len(dataset) if limit is None else min(limit, len(dataset))
    pixels = np.zeros(classes, np.int64)
    images_with = np.zeros(classes, np.int64)
    ignored = 0
    unknown: Counter[int] = Counter()
    unknown_in: dict[int, str] = {}
    unreadable: dict[str, str] = {}
    for index in range(total):
        say(index, total)
        name = dataset.name_of(index)
        try:
            found = dataset.inspect(index)
        except ValueError as error:
            unreadable[name] = str(error)
            continue
        counts = np.bincount(found.labels.ravel() - IGNORE, minlength=classes + 1)
        ignored += int(counts[0])
        pixels += counts[1:]
        images_with += counts[1:] > 0
        unknown.update(found.unknown)
        for raw in found.unknown:
            unknown_in.setdefault(raw, name)
    say(total, total)
    return CheckReport(
        images=total - len(unreadable),
        pixels=pixels,
        images_with=images_with,
        ignored=ignored,
        unknown=dict(sorted(unknown.items())),
        unknown_in=unknown_in,
        unreadable=unreadable,
    )
