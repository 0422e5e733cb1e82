"""Labelled images in miniature, and a segmenter whose answers a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparse_ovs.data.dataset import Sample, SegmentationDataset
from sparse_ovs.text import Vocabulary


class Labels(SegmentationDataset):
    """Black images with the given labels."""

    name = "labels"

    def __init__(
        self,
        labels: Sequence[np.ndarray],
        classes: tuple[str, ...],
        background: str | None = None,
        vocabulary: tuple[str, ...] | None = None,
    ) -> None:
        self.labels = [np.asarray(each, np.int32) for each in labels]
        self.classes, self.background = classes, background
        self._vocabulary = vocabulary or classes

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self._vocabulary

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        labels = self.labels[index]
        height, width = labels.shape
        return Sample(f"image{index}", Image.new("RGB", (width, height), (index, 0, 0)), labels)


class Answering:
    """Answers by the number of the image, which Labels writes into its pixels."""

    def __init__(self, answer: Callable[[int], np.ndarray]) -> None:
        self.answer = answer
        self.asked: Vocabulary | None = None

    def set_vocabulary(self, words: Vocabulary) -> Any:
        self.asked = words

    def predict_labels(self, image: Image.Image) -> Tensor:
        red, _, _ = image.getpixel((0, 0))  # type: ignore[misc]
        return torch.from_numpy(np.asarray(self.answer(red), np.int64))


def noise(classes: int, images: int, seed: int = 0, lowest: int = -1) -> list[np.ndarray]:
    """Random labels of images of several sizes, -1 among them."""
    random = np.random.default_rng(seed)
    sizes = [(5 + i % 3, 7 + i % 2) for i in range(images)]
    return [random.integers(lowest, classes, size) for size in sizes]
