"""maskclip: segmentation without training, from CLIP's own last layer without its attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads.clip_values import clip_values, values_index
from sparse_ovs.heads.head import PixelHead
from sparse_ovs.heads.sizes import Sizes
from sparse_ovs.text import TextEmbeddings


class MaskCLIP(PixelHead):
    """Each cell is classified by what it would add to CLIP's pooled embedding, see `clip_values`
    (MaskCLIP, arXiv 2112.01071, section 3.2). Logits are cosines to the text times CLIP's scale.
    """

    name = "maskclip"
    learns = False

    @classmethod
    def needed_indices(cls, backbone: Backbone) -> tuple[int, ...]:
        return (values_index(backbone),)

    def __init__(self, backbone: Backbone, sizes: Sizes | None = None) -> None:
        super().__init__(backbone, sizes)
        self.values = clip_values(backbone)
        self.scale = nn.Parameter(backbone.clip.logit_scale.detach().exp().clone())

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """(N, D, h, w), unit length along D: each cell in CLIP's joint space."""
        (last,) = self.needed(features)
        return F.normalize(self.values(last), dim=1)

    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> Tensor:
        """Logits (N, K, h, w)."""
        return self.scale * text.similarity(self.embed(features))
