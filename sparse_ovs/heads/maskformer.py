"""maskformer: Mask2Former's decoders with a classifier by text, as Han et al. train it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads.classifier import TextClassifier, joint_width, zero
from sparse_ovs.heads.loss_settings import MaskLossSettings
from sparse_ovs.heads.mask_head import MaskHead
from sparse_ovs.heads.mask_output import Prediction
from sparse_ovs.heads.mask_sizes import SMALL, MaskSizes
from sparse_ovs.heads.sizes import Sizes
from sparse_ovs.text import TextEmbeddings


class MaskFormer(MaskHead):
    """Queries' class features go to CLIP's joint space by a projection of their own at each point
    of the decoder (Han et al., arXiv 2303.09181; Mask2Former, arXiv 2112.01527). CLIP's image
    encoder gives the maps alone: no region is shown to it again.
    """

    name = "maskformer"
    reads_mask_features = False
    presets: ClassVar[Mapping[str, Sizes]] = {"paper": MaskSizes(), "small": MaskSizes(**SMALL)}

    def __init__(self, backbone: Backbone, sizes: MaskSizes | None = None) -> None:
        super().__init__(backbone, sizes)
        self.loss_settings = MaskLossSettings(ignored=0.5)
        dim, width = self.sizes.dim, joint_width(backbone.clip)
        self.class_embed = nn.Linear(dim, dim)
        self.class_projections = nn.ModuleList(
            nn.Linear(dim, width) for _ in range(self.sizes.decoder_layers + 1)
        )
        if self.sizes.from_clip:
            for projection in self.class_projections:
                zero(projection)
        self.classifier = TextClassifier(width)

    def classify(
        self,
        point: int,
        queries: Tensor,
        mask_logits: Tensor,
        mask_features: Tensor,
        text: TextEmbeddings,
        begin: Tensor | None,
    ) -> Prediction:
        features = self.class_embed(queries)
        vectors = self.class_projections[point](features.relu())
        vectors = F.normalize(vectors if begin is None else begin + vectors, dim=-1)
        return Prediction(self.classifier(vectors, text), mask_logits, features, vectors)
