"""CLIP's loss: images and texts find each other within the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_SCALE = 100.0
"""The largest scale of the similarities, to which CLIP clips it."""


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE (Radford et al., arXiv 2103.00020, figure 3): the mean of the
    cross-entropies of images among texts and of texts among images.

    Args:
        images, texts: (N, D) of unit length; row i of both is a pair.
        scale: scalar that multiplies the cosines.

    Raises:
        ValueError: other shapes.
    """
    if images.dim() != 2 or images.shape != texts.shape:
        raise ValueError(
            f"expected images and texts (N, D), got {tuple(images.shape)} and {tuple(texts.shape)}"
        )
    logits = scale * images @ texts.T
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
