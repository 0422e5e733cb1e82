"""Regions: what mask heads are matched with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_ovs.data.dataset import IGNORE


@dataclass(frozen=True)
class Regions:
    """Of one image.

    Attributes:
        classes: (n,) int64.
        masks: (n, H, W) bool; pixels in none of them are background to all.

    Raises:
        ValueError: other shapes, or numbers that differ.
    """

    classes: Tensor
    masks: Tensor

    def __post_init__(self) -> None:
        if self.classes.dim() != 1 or self.masks.dim() != 3:
            raise ValueError(
                "expected classes (n,) and masks (n, H, W), got "
                f"{tuple(self.classes.shape)} and {tuple(self.masks.shape)}"
            )
        if len(self.classes) != len(self.masks):
            raise ValueError(
                f"expected a class for each of {len(self.masks)} masks, got {len(self.classes)}"
            )

    def __len__(self) -> int:
        return len(self.classes)


def regions_from_labels(labels: Tensor) -> list[Regions]:
    """Labels (N, H, W) int64 -> by image, one region for each class that is there, by class."""
    found = []
    for image in labels:
        classes = image.unique()
        classes = classes[classes != IGNORE]
        found.append(Regions(classes, image == classes[:, None, None]))
    return found
