"""Losses beside a head's own: distillation from the dense encoder, grounding by captions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import MaskHead, MaskOutput, grounding_loss
from sparse_ovs.heads.classifier import joint_width
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.embedding import frozen_copy
from sparse_ovs.pruning.region_crops import region_crops
from sparse_ovs.pruning.text_guided import TextGuidedDistillation
from sparse_ovs.text import TextEmbeddings
from sparse_ovs.training.crops import NO_WORD
from sparse_ovs.training.extra import Extra


class FromDense(Extra):
    """The maps and the embedding of the encoder as it was when this was made (see
    LabelFreeDistillation)."""

    def __init__(self, backbone: Backbone, weight: float) -> None:
        super().__init__()
        self._weight = weight
        # In a list: what is frozen goes into no checkpoint.
        self._distillation = [LabelFreeDistillation(backbone)]

    def forward(self, objective, x, batch, output, targets, matches):  # type: ignore[no-untyped-def]
        return self._weight * self._distillation[0](objective.backbone, x)["loss"]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._distillation[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


class FromText(Extra):
    """What CLIP, as it was when this was made, sees in the regions that queries are matched with
    (see TextGuidedDistillation).

    Args:
        most: regions of a batch; of images after that none is cut out.
    """

    def __init__(self, head: MaskHead, backbone: Backbone, weight: float, most: int) -> None:
        super().__init__()
        points = head.sizes.decoder_layers + 1
        self._most = most
        self._teacher = [frozen_copy(backbone.clip.visual)]
        width = joint_width(backbone.clip)
        self.distillation = TextGuidedDistillation(points, head.sizes.dim, width, weight)

    def forward(self, objective, x, batch, output, targets, matches):  # type: ignore[no-untyped-def]
        names = _first_names(objective.text)
        crops, texts, kept, left = [], [], [], self._most
        size = _side(self._teacher[0])
        for image, target in enumerate(targets):
            regions = matches[-1][image].regions[:left]
            same = all(torch.equal(point[image].regions[:left], regions) for point in matches)
            if not same:
                raise ValueError(
                    f"expected at most as many regions as queries for text-guided distillation, "
                    f"got an image with {len(target)} regions"
                )
            left -= len(regions)
            kept.append(len(regions))
            cut = region_crops(batch.images[image], target.masks[regions], size)
            with torch.no_grad():
                crops.append(
                    self._teacher[0](cut.to(x)) if len(cut) else x.new_zeros(0, names.shape[1])
                )
            texts.append(names[target.classes[regions]])
        queries = [
            [
                features[image, matches[point][image].queries[: kept[image]]]
                for image in range(len(targets))
            ]
            for point, features in enumerate(output.class_features)
        ]
        return self.distillation(queries, crops, texts)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._teacher[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


class Grounding(Extra):
    """Regions and the words of captions (see grounding_loss)."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self._weight = weight

    def forward(self, objective, x, batch, output: MaskOutput, targets, matches):  # type: ignore[no-untyped-def]
        names = _first_names(objective.text)
        regions = [
            output.points[-1].class_vectors[image, match.queries]
            for image, match in enumerate(matches[-1])
        ]
        words = [names[row[row != NO_WORD]] for row in batch.words]
        return self._weight * grounding_loss(regions, words, objective.head.classifier.scale())


def _first_names(text: TextEmbeddings) -> Tensor:
    """(K, D): of each class, its first name's embedding."""
    sizes = torch.tensor([len(names) for names in text.vocabulary.classes])
    return F.normalize(text.rows[(sizes.cumsum(0) - sizes).to(text.rows.device)], dim=1)


def _side(visual: Any) -> int:
    size = visual.image_size
    return int(size[0] if isinstance(size, (tuple, list)) else size)
