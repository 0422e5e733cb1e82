"""Unlabelled images for pruning, repair and BatchNorm's statistics."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.data import open_dataset
from sparse_ovs.loop import Batches, DatasetBatches, GeneratedBatches
from sparse_ovs.reproduce.experiment import PruningPlan
from sparse_ovs.training.crops import Crops, CropSettings
from sparse_ovs.training.emoji_captions import EmojiCaptions


def unlabelled(plan: PruningPlan, backbone: Backbone, seed: int) -> Batches:
    """Of (N, 3, H, W), prepared as for the backbone.

    Raises:
        ValueError: see `open_dataset`.
        MissingPackages: of emoji.
    """
    if plan.dataset == "emoji":  # what no head is shown is shown here: CLIP was taught it too
        made = EmojiCaptions(plan.batch, plan.crop, seed)
        return GeneratedBatches(lambda number: made(number)[0], plan.batch)
    dataset = open_dataset(plan.dataset, None, plan.split, **plan.options)
    crops = Crops(dataset, CropSettings(plan.crop))
    return _Prepared(DatasetBatches(crops, plan.batch, seed), backbone)


def first_images(batches: Batches, count: int) -> list[Tensor]:
    """Whole batches of so many images, or a few more."""
    return list(islice(batches.start(0), -(-count // batches.batch_size)))


class _Prepared:
    """The images of batches of `Crops`, as the encoder takes them."""

    def __init__(self, batches: DatasetBatches, backbone: Backbone) -> None:
        self._batches, self.batch_size = batches, batches.batch_size
        self._normalize: Any = backbone.preprocess.transforms[-1]  # type: ignore[attr-defined]

    def start(self, first: int) -> Iterator[Tensor]:
        """See `Batches`."""
        return (self._normalize(items["image"] / 255) for items in self._batches.start(first))

    def describe(self) -> dict[str, Any]:
        """See `Batches`."""
        return self._batches.describe()
