"""fcclip: masks on a frozen CLIP, classified by a trained classifier and by CLIP itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads.classifier import MOST_SCALE, TextClassifier, class_cosines, joint_width, zero
from sparse_ovs.heads.clip_regions import embed_masks
from sparse_ovs.heads.ensemble import join_classifiers
from sparse_ovs.heads.loss_settings import MaskLossSettings
from sparse_ovs.heads.mask_head import MaskHead
from sparse_ovs.heads.mask_output import MaskOutput, Prediction
from sparse_ovs.heads.mask_pooling import pool_by_masks
from sparse_ovs.heads.mask_sizes import SMALL, MaskSizes
from sparse_ovs.heads.perceptron import Perceptron
from sparse_ovs.heads.sizes import Sizes
from sparse_ovs.text import TextEmbeddings, Vocabulary


@dataclass(frozen=True)
class FCCLIPSizes(MaskSizes):
    """MaskSizes, and how much CLIP's own classifier counts.

    Attributes:
        seen_weight, unseen_weight: its share, from 0 to 1, for classes that the head was trained on
            and for others.
    """

    queries: int = 250
    seen_weight: float = 0.4
    unseen_weight: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("seen_weight", "unseen_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} from 0 to 1, got {getattr(self, name)}")


class FCCLIP(MaskHead):
    """A query's class comes from its feature and the mask features under its mask; outside of
    training it is joined with what CLIP's own last layers say of the encoder's last map under the
    mask (FC-CLIP, arXiv 2308.02487, section 3.3).

    CLIP's last layers are the backbone's (`backbone.clip`), not copies, and no part of the head's
    parameters: training leaves them as they are, and so should the encoder be left.
    """

    name = "fcclip"
    reads_mask_features = True
    sizes: FCCLIPSizes
    presets: ClassVar[Mapping[str, Sizes]] = {
        "paper": FCCLIPSizes(),
        "small": FCCLIPSizes(**SMALL),
    }

    def __init__(self, backbone: Backbone, sizes: FCCLIPSizes | None = None) -> None:
        super().__init__(backbone, sizes)
        self.loss_settings = MaskLossSettings()
        self.clip = backbone.clip
        dim, width = self.sizes.dim, joint_width(backbone.clip)
        self.mask_pooling_proj = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim))
        self.class_embed = Perceptron([dim, dim, dim, width])
        if self.sizes.from_clip:
            zero(self.class_embed.layers[-1])
        self.classifier = TextClassifier(width, clamp=True)

    def classify(
        self,
        point: int,
        queries: Tensor,
        mask_logits: Tensor,
        mask_features: Tensor,
        text: TextEmbeddings,
        begin: Tensor | None,
    ) -> Prediction:
        pooled = pool_by_masks(mask_features, mask_logits.detach())
        features = queries + self.mask_pooling_proj(pooled)
        vectors = self.class_embed(features)
        vectors = F.normalize(vectors if begin is None else begin + vectors, dim=-1)
        return Prediction(self.classifier(vectors, text), mask_logits, features, vectors)

    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> MaskOutput:
        """In training the trained classifier's logits at all points; else log-probabilities of both
        classifiers together, at the last."""
        output = super().forward(features, text)
        if self.training:
            return output
        *_, last = self.needed(features)
        (prediction,) = output.points
        vectors, counts = embed_masks(self.clip, last, prediction.mask_logits)
        scale = self.clip.logit_scale.exp().clamp(max=MOST_SCALE)
        joint = join_classifiers(
            prediction.class_logits,
            scale * class_cosines(vectors, text),
            self.clip_weights(text.vocabulary).to(vectors),
            counts,
        )
        return MaskOutput((replace(prediction, class_logits=joint),))

    def clip_weights(self, vocabulary: Vocabulary) -> Tensor:
        """(K,) float64 on the CPU: the share of CLIP's own classifier; a class that has a synonym
        among `seen`, spelled alike to the letter's case, is a seen one."""
        seen = set(self.seen)
        return torch.tensor(
            [
                self.sizes.unseen_weight if seen.isdisjoint(synonyms) else self.sizes.seen_weight
                for synonyms in vocabulary.classes
            ],
            dtype=torch.float64,
        )
