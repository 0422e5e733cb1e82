"""What a segmenter says of one image, as tensors, pictures and dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparse_ovs.predictor.overlays import Line, blend, check_alpha, with_legend
from sparse_ovs.predictor.palette import colours
from sparse_ovs.text import Vocabulary

NOTHING = -1  # in sem_seg: a pixel of no class of the vocabulary


@dataclass(frozen=True)
class Segment:
    """All pixels of one class.

    Attributes:
        label: the class's name.
        index: of the class in the vocabulary.
        score: mean probability of the class over these pixels.
        area: pixels.
    """

    label: str
    index: int
    score: float
    area: int


@dataclass(frozen=True)
class Result:
    """Of one image, at its size (upright), on the CPU.

    Attributes:
        sem_seg: (H, W) int64: the class of each pixel, or -1 for the background.
        scores: (K, H, W) float32: probability of each class; None where they were not kept.
        segments: one for each class that was found, the largest first.
        vocabulary: the classes.
        image: the picture, RGB.
    """

    sem_seg: Tensor = field(repr=False)
    scores: Tensor | None = field(repr=False)
    segments: Sequence[Segment]
    vocabulary: Vocabulary
    image: Image.Image = field(repr=False)

    def to_pil(self) -> Image.Image:
        """Labels as a picture to save: a palette PNG with the class's number at each pixel and 255
        for the background, or 16-bit grey with 65535 for it where there are more than 255
        classes."""
        labels = self.sem_seg.numpy()
        if len(self.vocabulary) > 255:
            return Image.fromarray(np.where(labels < 0, 65535, labels).astype(np.uint16))
        picture = Image.fromarray(np.where(labels < 0, 255, labels).astype(np.uint8), mode="L")
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self.vocabulary)] = colours(len(self.vocabulary))
        picture.putpalette(palette.tobytes())  # turns it into mode P
        return picture

    def overlay(self, alpha: float = 0.5, legend: bool = True) -> Image.Image:
        """The picture with the classes' colours over it, RGB; the background shows through.

        Args:
            alpha: of the colours, 0 to 1.
            legend: names, scores and shares of the classes below the picture.

        Raises:
            ValueError: alpha out of its range.
        """
        check_alpha(alpha)
        table = colours(len(self.vocabulary))
        blended = blend(self.image, self.sem_seg.numpy(), table, alpha)
        return with_legend(blended, self._lines()) if legend else blended

    def as_dicts(self) -> list[dict[str, Any]]:
        """As Hugging Face's image-segmentation pipeline: "score", "label", and "mask", a PIL image
        of mode L with 255 inside; the largest segment first."""
        return [
            {
                "score": segment.score,
                "label": segment.label,
                "mask": Image.fromarray(((self.sem_seg == segment.index) * 255).byte().numpy()),
            }
            for segment in self.segments
        ]

    def records(self) -> list[dict[str, Any]]:
        """The segments, ready for JSON."""
        return [vars(segment) for segment in self.segments]

    def _lines(self) -> list[Line]:
        table, pixels = colours(len(self.vocabulary)), self.sem_seg.numel()
        return [
            (
                table[segment.index],
                f"{segment.label}: {segment.area / pixels:.0%} of the image, "
                f"mean score {segment.score:.2f}",
            )
            for segment in self.segments
        ]


def find_segments(
    sem_seg: Tensor, confidence: Tensor, vocabulary: Vocabulary
) -> tuple[Segment, ...]:
    """One for each class in sem_seg, the largest first.

    Args:
        sem_seg: (H, W) int64, -1 for the background.
        confidence: (H, W), the probability of each pixel's class.
    """
    count = len(vocabulary) + 1
    flat = (sem_seg + 1).flatten()
    areas = torch.bincount(flat, minlength=count)[1:]
    sums = torch.bincount(flat, confidence.flatten().double(), minlength=count)[1:]
    found = [
        Segment(name, index, float(sums[index] / areas[index]), int(areas[index]))
        for index, name in enumerate(vocabulary.names)
        if areas[index] > 0
    ]
    return tuple(sorted(found, key=lambda segment: -segment.area))
