"""What a training step is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Crops.

    Attributes:
        images: (N, 3, S, S) uint8.
        labels: (N, S, S) int64.
        words: (N, words) int64, see Crops; None where no captions are read.
        first_place: of the first image in the batch of all processes.
    """

    images: Tensor
    labels: Tensor
    words: Tensor | None
    first_place: int = 0

    @classmethod
    def of(cls, items: dict[str, Any], first_place: int, device: torch.device) -> Batch:
        """A collated batch of Crops, on a device."""
        words = items.get("words")
        return cls(
            items["image"].to(device, non_blocking=True),
            items["labels"].to(device, non_blocking=True),
            None if words is None else words.to(device),
            first_place,
        )
