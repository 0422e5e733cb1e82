"""Panoptic and instance results of one image, as tensors, pictures and dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from sparse_ovs.predictor.overlays import Line, blend, check_alpha, with_legend
from sparse_ovs.predictor.palette import colours
from sparse_ovs.text import Vocabulary

_MOST_IDS = 1 << 24  # that a picture of three bytes a pixel tells apart


@dataclass(frozen=True)
class FoundSegment:
    """One thing, or all stuff of one class.

    Attributes:
        id: in the map of ids, from 1.
        label: the class's name.
        index: of the class in the vocabulary.
        thing: whether it is a thing.
        score: the class's probability.
        area: pixels.
    """

    id: int
    label: str
    index: int
    thing: bool
    score: float
    area: int


@dataclass(frozen=True)
class PanopticResult:
    """Of one image, at its size (upright), on the CPU.

    Attributes:
        ids: (H, W) int32: the segment of each pixel, 0 for none.
        segments: the largest first.
        vocabulary: the classes.
        image: the picture, RGB.
    """

    ids: Tensor = field(repr=False)
    segments: Sequence[FoundSegment]
    vocabulary: Vocabulary
    image: Image.Image = field(repr=False)

    def to_pil(self) -> Image.Image:
        """Ids as COCO's panoptic pictures: id = R + 256 G + 65536 B."""
        ids = self.ids.numpy()
        assert ids.max(initial=0) < _MOST_IDS
        planes = [(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)]
        return Image.fromarray(np.stack(planes, -1))

    def overlay(self, alpha: float = 0.5, legend: bool = True) -> Image.Image:
        """The picture with the segments' colours over it, RGB; what has none shows through.

        Args:
            alpha: of the colours, 0 to 1.
            legend: names, scores and shares of the segments below the picture.

        Raises:
            ValueError: alpha out of its range.
        """
        check_alpha(alpha)
        table = colours(max((segment.id for segment in self.segments), default=0))
        blended = blend(self.image, self.ids.numpy() - 1, table, alpha)
        lines = [
            _line(table[s.id - 1], s.label, s.area / self.ids.numel(), s.score)
            for s in self.segments
        ]
        return with_legend(blended, lines) if legend else blended

    def as_dicts(self) -> list[dict[str, Any]]:
        """As Hugging Face's image-segmentation pipeline: "score", "label", and "mask", a PIL image
        of mode L with 255 inside; the largest segment first."""
        return [_entry(s.score, s.label, self.ids == s.id) for s in self.segments]

    def records(self) -> list[dict[str, Any]]:
        """The segments, ready for JSON."""
        return [vars(segment) for segment in self.segments]


@dataclass(frozen=True)
class FoundInstance:
    """One thing.

    Attributes:
        label: the class's name.
        index: of the class in the vocabulary.
        score: the class's probability times the mask's mean probability inside it.
        area: pixels.
        mask: (H, W) bool.
    """

    label: str
    index: int
    score: float
    area: int
    mask: Tensor = field(repr=False)


@dataclass(frozen=True)
class InstanceResult:
    """Of one image, at its size (upright), on the CPU.

    Attributes:
        instances: the highest score first; masks may overlap.
        vocabulary: the classes.
        image: the picture, RGB.
    """

    instances: Sequence[FoundInstance]
    vocabulary: Vocabulary
    image: Image.Image = field(repr=False)

    def overlay(self, alpha: float = 0.5, legend: bool = True) -> Image.Image:
        """As of a PanopticResult; where masks overlap, the one of the higher score is seen."""
        check_alpha(alpha)
        table = colours(len(self.instances))
        labels = np.full((self.image.height, self.image.width), -1)
        for place in reversed(range(len(self.instances))):
            labels[self.instances[place].mask.numpy()] = place
        blended = blend(self.image, labels, table, alpha)
        lines = [
            _line(table[place], one.label, one.area / labels.size, one.score)
            for place, one in enumerate(self.instances)
        ]
        return with_legend(blended, lines) if legend else blended

    def as_dicts(self) -> list[dict[str, Any]]:
        """As of a PanopticResult, the highest score first."""
        return [_entry(one.score, one.label, one.mask) for one in self.instances]

    def records(self) -> list[dict[str, Any]]:
        """The instances without their masks, ready for JSON."""
        return [
            {key: value for key, value in vars(one).items() if key != "mask"}
            for one in self.instances
        ]


def _entry(score: float, label: str, mask: Tensor) -> dict[str, Any]:
    return {"score": score, "label": label, "mask": Image.fromarray((mask * 255).byte().numpy())}


def _line(colour: np.ndarray, label: str, share: float, score: float) -> Line:
    return colour, f"{label}: {share:.0%} of the image, score {score:.2f}"
