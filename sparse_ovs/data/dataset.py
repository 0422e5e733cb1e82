"""What a labelled dataset offers: images with one class a pixel, and names of the classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

IGNORE = -1
"""The label of pixels that do not count, in every dataset; readers map 255, 65535 and the like."""


@dataclass(frozen=True)
class Sample:
    """An image and its labels.

    Attributes:
        name: of the image, without folder and suffix.
        image: RGB, upright (EXIF orientation applied).
        labels: int32 (H, W) of the image's size: a class 0..K-1, or IGNORE.
    """

    name: str
    image: Image.Image
    labels: np.ndarray


@dataclass(frozen=True)
class Inspection:
    """What `sparse-ovs data check` looks at.

    Attributes:
        labels: as in `Sample`.
        unknown: raw ids that are neither a class nor known to carry none -> pixels.
    """

    labels: np.ndarray
    unknown: dict[int, int]


class SegmentationDataset(ABC):
    """Images with labels, by index; works as a map-style dataset of torch's DataLoader.

    Attributes:
        name: of the dataset, such as "ade150".
        classes: names of its K classes; synonyms of a class are separated by ", ".
        background: name of the class that stands for "none of them", where there is one.
    """

    name: str
    classes: tuple[str, ...]
    background: str | None = None

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Names to ask a segmenter for: the classes, unless the protocol asks for others. Where it
        is longer, or differs after the first K-1 names, every answer from K-1 on is the
        background (voc20b)."""
        return self.classes

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The sample at 0 <= index < len.

        Raises:
            IndexError: there is none.
            ValueError: a file is missing, is not readable, or does not fit its image.
        """

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def name_of(self, index: int) -> str:
        """The name that the sample has, without reading it."""
        return str(index)

    def inspect(self, index: int) -> Inspection:
        """The labels and what is wrong with them.

        Raises:
            ValueError: as in `__getitem__`.
        """
        return Inspection(self[index].labels, {})
