"""What every head offers: forward, loss and predict, on maps and text embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.data.dataset import IGNORE
from sparse_ovs.heads.normaliser import shared_count
from sparse_ovs.heads.sizes import NoSizes, Sizes
from sparse_ovs.text import TextEmbeddings


class Head(ABC, nn.Module):
    """On top of a backbone's maps; takes what it needs of CLIP from `backbone.clip`.

    Attributes:
        name: in the registry and in files.
        probabilities: whether `predict` gives scores from 0 on, probabilities or sums of them;
            otherwise it gives logits, of which a softmax makes probabilities.
        presets: sizes by name; "paper" is always among them.
        learns: whether it has weights that are not CLIP's, which training must find.
        output_stride: that it wants of a dilated ResNet (see `create_backbone`), where the backbone
            is not given; None for the encoder's own.
        sizes: of this head.
        untrained: whether its own weights are still random; training and files clear it.
        seen: names, with synonyms, of the classes that it was trained on; training sets it, files
            keep it.
    """

    name: ClassVar[str]
    probabilities: ClassVar[bool]
    presets: ClassVar[Mapping[str, Sizes]] = {"paper": NoSizes()}
    learns: ClassVar[bool] = True
    output_stride: ClassVar[int | None] = None

    @classmethod
    @abstractmethod
    def needed_indices(cls, backbone: Backbone) -> tuple[int, ...]:
        """Which of the backbone's features the head reads (see `create_backbone`); the backbone may
        give others too.

        Raises:
            ValueError: a backbone that the head cannot use.
        """

    def __init__(self, backbone: Backbone, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes or self.presets["paper"]
        self.untrained = self.learns
        self.seen: tuple[str, ...] = ()
        needed = self.needed_indices(backbone)
        if not set(needed) <= set(backbone.out_indices):
            raise ValueError(
                f"expected a backbone that gives features {needed} for {self.name} (out_indices of "
                f"create_backbone), got one with out_indices {tuple(backbone.out_indices)}"
            )
        self._places = [list(backbone.out_indices).index(index) for index in needed]

    def needed(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The maps of `needed_indices`, from all that the backbone gave."""
        return [features[place] for place in self._places]

    @abstractmethod
    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> Any:
        """The backbone's maps, each (N, C, h, w), and the classes -> the head's own output."""

    @abstractmethod
    def predict(self, output: Any) -> Tensor:
        """An output of `forward` -> scores by class (N, K, h, w) float32, larger is better, at the
        head's own resolution: its cells cover the input evenly."""

    @abstractmethod
    def losses(
        self, output: Any, labels: Tensor, draws: Sequence[torch.Generator] | None = None
    ) -> dict[str, Tensor]:
        """What training minimises.

        Where several processes train together, each with its part of a batch, the mean of their
        gradients is the whole batch's (see `shared_count`).

        Args:
            output: of `forward`.
            labels: (N, H, W) int64, 0 to K - 1 or IGNORE.
            draws: CPU generators, one an image, for losses that draw random numbers, so that these
                do not depend on what else is in the batch; None draws from torch's global one.

        Returns:
            Scalars by name; "loss" is minimised, the others are its parts.
        """

    def loss(self, output: Any, labels: Tensor) -> Tensor:
        """The scalar that training minimises, see `losses`."""
        return self.losses(output, labels)["loss"]


class PixelHead(Head):
    """A head whose output is logits by class and cell, (N, K, h, w)."""

    probabilities = False

    def predict(self, output: Tensor) -> Tensor:
        return output.float()

    def losses(
        self, output: Tensor, labels: Tensor, draws: Sequence[torch.Generator] | None = None
    ) -> dict[str, Tensor]:
        """Cross-entropy at the labels' size, the mean over pixels that are not IGNORE; 0 where all
        are."""
        logits = F.interpolate(
            output.float(), labels.shape[-2:], mode="bilinear", align_corners=False
        )
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        return {"loss": total / shared_count((labels != IGNORE).sum())}
