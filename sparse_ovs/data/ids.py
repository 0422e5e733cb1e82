"""Raw ids of label files, and the classes they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

from sparse_ovs.data.dataset import IGNORE


class IdMap:
    """Raw id -> class.

    Args:
        classes: raw id >= 0 -> class >= 0.
        ignored: raw ids >= 0 that are known to carry no class. All others are unknown: they are
            not counted either, but `sparse-ovs data check` lists them.
    """

    def __init__(self, classes: Mapping[int, int], ignored: Iterable[int] = ()) -> None:
        self.classes = dict(classes)
        self.ignored = frozenset(ignored) - self.classes.keys()

    @classmethod
    def counted(cls, count: int, first: int = 0, ignored: Iterable[int] = (255,)) -> IdMap:
        """Ids first, first + 1, ... are the classes 0..count-1."""
        return cls({first + k: k for k in range(count)}, ignored)

    @cached_property
    def _table(self) -> np.ndarray:
        # The last entry is for ids outside the table.
        table = np.full(max(self.classes, default=0) + 2, IGNORE, np.int32)
        for raw, label in self.classes.items():
            table[raw] = label
        return table

    def labels(self, ids: np.ndarray) -> np.ndarray:
        """Ids (H, W) of any integer type -> labels int32 (H, W), IGNORE where there is no class."""
        outside = len(self._table) - 1
        return self._table[np.where((ids < 0) | (ids > outside), outside, ids)]

    def unknown(self, ids: np.ndarray) -> dict[int, int]:
        """Unknown ids in (H, W) -> how many pixels have them."""
        found, counts = np.unique(ids, return_counts=True)
        return {
            int(raw): int(count)
            for raw, count in zip(found, counts, strict=True)
            if int(raw) not in self.classes and int(raw) not in self.ignored
        }
