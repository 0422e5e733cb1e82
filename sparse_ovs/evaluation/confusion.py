"""Counts of pixels by predicted and true class, exact."""

from __future__ import annotations

import numpy as np

# Pixels that are counted at once: what bincount needs beside the counts stays at 24 MB.
_PIXELS = 1 << 20


class Confusion:
    """Pixels by predicted class (rows; the last one: none of the classes) and true class (columns).

    Attributes:
        counts: int64 (K + 1, K).

    Raises:
        ValueError: counts of another shape or dtype, or below 0.
    """

    def __init__(self, counts: np.ndarray) -> None:
        rows, columns = counts.shape if counts.ndim == 2 else (0, 0)
        if columns < 1 or rows != columns + 1 or counts.dtype != np.int64:
            raise ValueError(
                f"expected int64 counts of shape (K + 1, K), got {counts.dtype} {counts.shape}"
            )
        if (counts < 0).any():
            raise ValueError(f"expected counts of pixels, got {counts.min()}")
        self.counts = counts

    @classmethod
    def empty(cls, classes: int) -> Confusion:
        """Of no pixels."""
        return cls(np.zeros((classes + 1, classes), np.int64))

    @property
    def classes(self) -> int:
        """K."""
        return self.counts.shape[1]

    def add(self, predicted: np.ndarray, labels: np.ndarray) -> None:
        """Counts the pixels of an image; those without a label do not count, whatever was
        predicted.

        Args:
            predicted: integers (H, W), 0 to K - 1, or -1 for none of the classes.
            labels: integers (H, W), 0 to K - 1, or -1 (IGNORE).

        Raises:
            ValueError: shapes that differ, or other values; nothing is counted.
        """
        if predicted.shape != labels.shape:
            raise ValueError(
                f"expected a prediction of the labels' size {labels.shape}, got {predicted.shape}"
            )
        for what, values in (("predictions", predicted), ("labels", labels)):
            low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
            if low < -1 or high >= self.classes:
                raise ValueError(
                    f"expected {what} from -1 to {self.classes - 1}, got {low} to {high}"
                )
        predicted, labels = predicted.reshape(-1), labels.reshape(-1)
        for start in range(0, labels.size, _PIXELS):
            truth = labels[start : start + _PIXELS]
            counted = truth >= 0
            rows = predicted[start : start + _PIXELS][counted].astype(np.int64)
            rows[rows < 0] = self.classes
            places = rows * self.classes + truth[counted]
            self.counts += np.bincount(places, minlength=self.counts.size).reshape(
                self.counts.shape
            )
