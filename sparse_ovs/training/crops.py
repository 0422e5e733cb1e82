"""Training images: scaled, mirrored, cropped to squares, with labels and the caption's classes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from sparse_ovs.data.dataset import IGNORE, SegmentationDataset

NO_WORD = -1


@dataclass(frozen=True)
class CropSettings:
    """How crops are made.

    Attributes:
        size: of the square, pixels.
        least, most: the shorter side of the scaled image, in squares.
        flip: mirror half of the images.
        paint: RGB around images that are smaller than the square; its labels are IGNORE.
        words: of a caption at most; 0 leaves captions alone.
        dropped: chance of a word to be left out.
    """

    size: int
    least: float = 1.0
    most: float = 1.0
    flip: bool = False
    paint: tuple[int, int, int] = (0, 0, 0)
    words: int = 0
    dropped: float = 0.0


class Crops(Dataset[dict[str, Any]]):
    """Items of a dataset as tensors: "image" (3, S, S) uint8, "labels" (S, S) int64, "item", and,
    where words of captions are wanted, "words" (words,) int64: classes that the caption names, in
    random order, then NO_WORD.

    Random numbers come from Python's global generator, which `DatasetBatches` seeds by item.

    Raises:
        ValueError: words of captions that the dataset does not have.
    """

    def __init__(self, dataset: SegmentationDataset, settings: CropSettings) -> None:
        if settings.words and not hasattr(dataset, "caption"):
            raise ValueError(
                f"expected a dataset with captions for words, got {dataset.name}, which has none"
            )
        self._dataset, self._settings = dataset, settings

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        settings, sample = self._settings, self._dataset[index]
        image, labels = _crop(sample.image, sample.labels, settings)
        if settings.flip and random.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        made: dict[str, Any] = {
            "image": torch.from_numpy(image.transpose(2, 0, 1).copy()),
            "labels": torch.from_numpy(labels.astype(np.int64)),
            "item": index,
        }
        if settings.words:
            made["words"] = self._words(index)
        return made

    def _words(self, index: int) -> Tensor:
        settings = self._settings
        caption: str = self._dataset.caption(index)  # type: ignore[attr-defined]
        named = [
            number
            for number in named_classes(caption, self._dataset.classes)
            if random.random() >= settings.dropped
        ]
        random.shuffle(named)
        kept = named[: settings.words]
        return torch.tensor(kept + [NO_WORD] * (settings.words - len(kept)))


def named_classes(caption: str, classes: Sequence[str]) -> list[int]:
    """Classes of which the caption has a name, whole words, by number."""
    padded = f" {''.join(c if c.isalnum() else ' ' for c in caption.casefold())} "
    text = " ".join(padded.split())
    text = f" {text} "
    return [
        number
        for number, names in enumerate(classes)
        if any(f" {name.casefold()} " in text for name in names.split(", "))
    ]


def _crop(
    image: Image.Image, labels: np.ndarray, settings: CropSettings
) -> tuple[np.ndarray, np.ndarray]:
    """(S, S, 3) uint8 and (S, S) int32 of a random part of the scaled image."""
    size = settings.size
    scale = size * random.uniform(settings.least, settings.most) / min(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    left, top = (random.randint(0, max(0, side - size)) for side in (width, height))
    box = (left, top, min(width, left + size), min(height, top + size))
    inner = (box[2] - box[0], box[3] - box[1])
    # Of the original, so that only what is kept is resized.
    part = (
        box[0] * image.width / width,
        box[1] * image.height / height,
        box[2] * image.width / width,
        box[3] * image.height / height,
    )
    pixels = np.asarray(image.resize(inner, Image.Resampling.BILINEAR, box=part))
    found = Image.fromarray(labels).resize(inner, Image.Resampling.NEAREST, box=part)
    made = np.empty((size, size, 3), np.uint8)
    made[:] = settings.paint
    made[: inner[1], : inner[0]] = pixels
    marked = np.full((size, size), IGNORE, np.int32)
    marked[: inner[1], : inner[0]] = np.asarray(found)
    return made, marked
