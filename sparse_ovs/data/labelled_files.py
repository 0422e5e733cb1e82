"""Images and label files on disk, read through a map from raw ids to classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sparse_ovs.data.dataset import Inspection, Sample, SegmentationDataset
from sparse_ovs.data.ids import IdMap
from sparse_ovs.data.images import read_ids, read_image


@dataclass(frozen=True)
class Item:
    """One image and where its labels are."""

    name: str
    image: Path
    labels: Path


def read_item_ids(item: Item) -> np.ndarray:
    """Raw ids of a label file that holds them as they are, int32 (H, W)."""
    return read_ids(item.labels)


class LabelledFiles(SegmentationDataset):
    """A dataset of image files and label files.

    Args:
        name, classes, background: see `SegmentationDataset`.
        items: what it holds, in this order.
        ids: raw ids -> classes.
        read: item -> raw ids (H, W).
        vocabulary: names to ask for, where they are not the classes.
        short_side: samples whose shorter side is longer are made smaller, images bilinearly,
            labels by nearest neighbour.

    Raises:
        ValueError: no items.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        items: Sequence[Item],
        ids: IdMap,
        *,
        read: Callable[[Item], np.ndarray] = read_item_ids,
        background: str | None = None,
        vocabulary: Sequence[str] | None = None,
        short_side: int | None = None,
    ) -> None:
        if not items:
            raise ValueError(f"expected images of {name}, got none")
        self.name = name
        self.classes = tuple(classes)
        self.background = background
        self.items = tuple(items)
        self.ids = ids
        self.short_side = short_side
        self._read = read
        self._vocabulary = tuple(classes if vocabulary is None else vocabulary)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self._vocabulary

    def rename(self, names: Sequence[str]) -> None:
        """Gives the names of the vocabulary, in its order, other words.

        Raises:
            ValueError: not as many.
        """
        if len(names) != len(self._vocabulary):
            raise ValueError(f"expected {len(self._vocabulary)} names, got {len(names)}")
        if self._vocabulary == self.classes:
            if self.background is not None:
                self.background = names[self.classes.index(self.background)]
            self.classes = tuple(names)
        else:  # asked for as its classes but the last, then as other names for that
            last = len(self.classes) - 1
            self.classes = (*names[:last], self.classes[last])
        self._vocabulary = tuple(names)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        image, ids = self._load(index)
        labels = self.ids.labels(ids)
        size = self._size(image)
        if size != image.size:
            image = image.resize(size, Image.Resampling.BILINEAR)
            labels = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        return Sample(self.items[index].name, image, labels)

    def name_of(self, index: int) -> str:
        return self.items[index].name

    def inspect(self, index: int) -> Inspection:
        _, ids = self._load(index)
        return Inspection(self.ids.labels(ids), self.ids.unknown(ids))

    def _load(self, index: int) -> tuple[Image.Image, np.ndarray]:
        item = self.items[index]
        image = read_image(item.image)
        ids = self._read(item)
        if ids.shape != (image.height, image.width):
            raise ValueError(
                f"expected labels of the upright image's size {image.height}x{image.width} in "
                f"{item.labels}, got {'x'.join(map(str, ids.shape))}"
            )
        return image, ids

    def _size(self, image: Image.Image) -> tuple[int, int]:
        shorter = min(image.size)
        if self.short_side is None or shorter <= self.short_side:
            return image.size
        scale = self.short_side / shorter
        return round(image.width * scale), round(image.height * scale)
