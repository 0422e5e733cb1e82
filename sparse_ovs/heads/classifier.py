"""Class logits of vectors by their cosines to a vocabulary's text embeddings."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import ClipParts
from sparse_ovs.text import TextEmbeddings

MOST_SCALE = 100.0  # of CLIP's own similarities (arXiv 2103.00020, section 2.5)


class TextClassifier(nn.Module):
    """Cosines times a learned scale; one more class, "no object", is a learned vector.

    Args:
        width: of CLIP's joint space.
        clamp: hold the scale at MOST_SCALE at most.

    Attributes:
        logit_scale: the scale's logarithm.
        void: (1, width), "no object", of any length.
    """

    def __init__(self, width: int, clamp: bool = False) -> None:
        super().__init__()
        self.clamp = clamp
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.void = nn.Parameter(torch.randn(1, width))

    def scale(self) -> Tensor:
        """What cosines are multiplied by, a scalar."""
        scale = self.logit_scale.exp()
        return scale.clamp(max=MOST_SCALE) if self.clamp else scale

    def forward(self, vectors: Tensor, text: TextEmbeddings) -> Tensor:
        """Unit vectors (N, Q, width) -> logits (N, Q, K + 1), the last of "no object"."""
        void = vectors @ F.normalize(self.void, dim=1).T
        return self.scale() * torch.cat((class_cosines(vectors, text), void), -1)


def class_cosines(vectors: Tensor, text: TextEmbeddings) -> Tensor:
    """Unit vectors (N, Q, D) -> (N, Q, K), the largest among a class's synonyms."""
    return text.similarity(vectors.transpose(1, 2)).transpose(1, 2)


def zero(layer: nn.Module) -> None:
    """Makes a linear layer, or a convolution, give zeros until it learns."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def joint_width(clip: ClipParts) -> int:
    """Width of CLIP's joint space of images and text."""
    projection = clip.model.text_projection
    if isinstance(projection, nn.Linear):
        return projection.out_features
    assert isinstance(projection, Tensor)
    return projection.shape[1]
