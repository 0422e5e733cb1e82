"""Class logits of every cell of a map, by its cosines to a vocabulary's text embeddings."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import ClipParts
from sparse_ovs.heads.classifier import TextClassifier, joint_width
from sparse_ovs.text import TextEmbeddings


class PixelClassifier(nn.Module):
    """A linear layer into CLIP's joint space, then TextClassifier.

    Args:
        dim: channels of the map.
        clip: whose joint space it is.
    """

    def __init__(self, dim: int, clip: ClipParts) -> None:
        super().__init__()
        self.project = nn.Conv2d(dim, joint_width(clip), 1)
        self.classify = TextClassifier(joint_width(clip))

    def forward(self, x: Tensor, text: TextEmbeddings) -> Tensor:
        """(N, dim, h, w) -> logits (N, K + 1, h, w), the last of "no object"."""
        cells = F.normalize(self.project(x), dim=1).flatten(2).transpose(1, 2)
        return self.classify(cells, text).transpose(1, 2).unflatten(2, x.shape[2:])
