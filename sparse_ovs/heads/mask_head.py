"""What heads that predict masks share: decoders, semantic scores, matching and losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones import Backbone, Level
from sparse_ovs.heads.clip_values import clip_values
from sparse_ovs.heads.head import Head
from sparse_ovs.heads.loss_settings import MaskLossSettings
from sparse_ovs.heads.mask_decoder import MaskDecoder
from sparse_ovs.heads.mask_losses import class_loss_sums, mask_loss_sums
from sparse_ovs.heads.mask_output import MaskOutput, Prediction
from sparse_ovs.heads.mask_sizes import MaskSizes
from sparse_ovs.heads.matching import Draws, Match, match_queries
from sparse_ovs.heads.normaliser import shared_count
from sparse_ovs.heads.pixel_decoder import PixelDecoder
from sparse_ovs.heads.regions import Regions, regions_from_labels
from sparse_ovs.text import TextEmbeddings

_FINEST_STRIDE = 4


class MaskHead(Head):
    """Queries, each with a mask and a class.

    Attributes:
        sizes: see MaskSizes.
        loss_settings: of `losses`; no part of files.
        reads_mask_features: whether `classify` needs mask features outside of training.
    """

    probabilities = True
    reads_mask_features: ClassVar[bool]
    sizes: MaskSizes
    loss_settings: MaskLossSettings

    @classmethod
    def needed_indices(cls, backbone: Backbone) -> tuple[int, ...]:
        return tuple(level.index for level in cls._needed_levels(backbone))

    @classmethod
    def _needed_levels(cls, backbone: Backbone) -> list[Level]:
        """From stride 4 on; the last ones may share a stride, where they are dilated."""
        levels = backbone.levels()
        if len({level.stride for level in levels}) == 1:
            raise ValueError(
                f"expected a CLIP ResNet or ConvNeXt for {cls.name}, got {backbone.clip.name!r} "
                f"({type(backbone).__name__}), which has no maps of several strides"
            )
        return [level for level in levels if level.stride >= _FINEST_STRIDE]

    def __init__(self, backbone: Backbone, sizes: MaskSizes | None = None) -> None:
        super().__init__(backbone, sizes)
        channels = [level.channels for level in self._needed_levels(backbone)]
        self.pixel_decoder = PixelDecoder(channels, self.sizes)
        self.decoder = MaskDecoder(self.sizes)
        self.values = clip_values(backbone) if self.sizes.from_clip else None

    @abstractmethod
    def classify(
        self,
        point: int,
        queries: Tensor,
        mask_logits: Tensor,
        mask_features: Tensor,
        text: TextEmbeddings,
        begin: Tensor | None,
    ) -> Prediction:
        """Classes of queries with masks.

        Args:
            point: where in the decoder, 0 before its first layer.
            queries: (N, Q, dim), normalised.
            mask_logits: (N, Q, h, w).
            mask_features: (N, dim, h, w).
            text: the classes.
            begin: (N, Q, D), vectors of the joint space that what the head says is added to.
        """

    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> MaskOutput:
        """In training at all points of the decoder, which losses need; else at its last."""
        project = self.training or self.reads_mask_features
        mask_features, levels = self.pixel_decoder(self.needed(features), project)
        projection = None if project else self.pixel_decoder.mask_features
        points = self.decoder(levels, mask_features, self.training, projection)
        first = self.sizes.decoder_layers + 1 - len(points)
        *_, last = self.needed(features)
        cells = None if self.values is None else F.normalize(self.values(last), dim=1)
        return MaskOutput(
            tuple(
                self.classify(
                    point,
                    queries,
                    mask_logits,
                    mask_features,
                    text,
                    None if cells is None else _under_masks(cells, mask_logits.detach()),
                )
                for point, (queries, mask_logits) in enumerate(points, first)
            )
        )

    def class_probabilities(self, output: MaskOutput) -> Tensor:
        """(N, Q, K + 1) float32 of the last point, which sum to 1; the last is of "no object"."""
        return output.class_logits.float().softmax(-1)

    def predict(self, output: MaskOutput) -> Tensor:
        """The sum over queries of a class's probability times the mask's (MaskFormer, arXiv
        2107.06278, section 3.4): more than 1 where masks overlap."""
        classes = self.class_probabilities(output)[..., :-1]
        masks = output.mask_logits.float().sigmoid()
        return (classes.transpose(1, 2) @ masks.flatten(2)).unflatten(2, masks.shape[-2:])

    def match(
        self, output: MaskOutput, targets: Sequence[Regions], draws: Draws | None = None
    ) -> list[list[Match]]:
        """By point, by image: which query is to predict which region, see `match_queries`.

        Args:
            output: of `forward` in training.
            targets: by image.
            draws: see `losses`.

        Raises:
            ValueError: another number of images, regions of unknown classes, an output that is not
                of training, or predictions that are not finite.
        """
        self._check(output, targets)
        draws = [None] * len(targets) if draws is None else draws
        with torch.autocast(output.mask_logits.device.type, enabled=False):
            return [
                match_queries(point, targets, self.loss_settings, draws) for point in output.points
            ]

    def mask_losses(
        self,
        output: MaskOutput,
        targets: Sequence[Regions],
        matches: Sequence[Sequence[Match]],
        draws: Draws | None = None,
    ) -> dict[str, Tensor]:
        """What `losses` gives, for pairs of `match`; the same arguments."""
        self._check(output, targets)
        settings = self.loss_settings
        draws = [None] * len(targets) if draws is None else draws
        with torch.autocast(output.mask_logits.device.type, enabled=False):
            masks, classes = (
                [
                    of_point(point, targets, pairs, settings, draws)
                    for point, pairs in zip(output.points, matches, strict=True)
                ]
                for of_point in (mask_loss_sums, class_loss_sums)
            )
            cross_entropy, dice = (torch.stack(sums).sum() for sums in zip(*masks, strict=True))
            losses, weights = (torch.stack(sums) for sums in zip(*classes, strict=True))
            found = sum(len(match.queries) for match in matches[0])
            count = shared_count(torch.tensor(found, device=losses.device))
            parts = {
                "mask": settings.mask_weight * cross_entropy / count,
                "dice": settings.dice_weight * dice / count,
                "class": settings.class_weight * (losses / shared_count(weights)).sum(),
            }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def losses(
        self, output: Any, labels: Tensor, draws: Sequence[torch.Generator] | None = None
    ) -> dict[str, Tensor]:
        """The weighted parts "mask", "dice" and "class", each summed over all points of the
        decoder, and their sum. Every class that is in an image is one region of it; pixels without
        a label are in none, and so are outside of every mask.
        """
        targets = regions_from_labels(labels)
        return self.mask_losses(output, targets, self.match(output, targets, draws), draws)

    def _check(self, output: MaskOutput, targets: Sequence[Regions]) -> None:
        wanted = self.sizes.decoder_layers + 1
        if len(output.points) != wanted:
            raise ValueError(
                f"expected the output of {self.name} in training, with {wanted} points, got "
                f"{len(output.points)}"
            )
        images, _, classes = output.class_logits.shape
        if len(targets) != images:
            raise ValueError(f"expected the regions of {images} images, got {len(targets)}")
        for target in targets:
            if (
                len(target)
                and not 0 <= int(target.classes.min()) <= int(target.classes.max()) < classes - 1
            ):
                raise ValueError(
                    f"expected classes of regions from 0 to {classes - 2}, got "
                    f"{target.classes.tolist()}"
                )


def _under_masks(cells: Tensor, mask_logits: Tensor) -> Tensor:
    """The mean of cells (N, D, h, w) under masks (N, Q, h', w'), of unit length -> (N, Q, D). A
    cell counts by the mask's mean over it: things may be smaller than a cell."""
    counts = F.interpolate(mask_logits.sigmoid(), cells.shape[2:], mode="area").flatten(2)
    return F.normalize(counts @ cells.flatten(2).transpose(1, 2), dim=-1)
