"""Mask heads in miniature whose every weight counts, on maps of small encoders."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import MaskHead, create_head
from sparse_ovs.text import TextEmbeddings, Vocabulary
from support.small_clips import RN, small_backbone

WORDS = Vocabulary.parse("cat, kitten; dog; sky, clouds, blue; grass")
HEADS = ("maskformer", "fcclip")


def small_head(
    name: str, clip: str = RN, sizes: Any = "small"
) -> tuple[MaskHead, Backbone, TextEmbeddings]:
    """A head in eval mode, its backbone, and four classes with seven names of random embeddings."""
    backbone = small_backbone(clip)
    torch.manual_seed(7)
    head = create_head(name, backbone, sizes)
    assert isinstance(head, MaskHead)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return head, backbone, random_text(head.classifier.void.shape[1])


def random_text(width: int) -> TextEmbeddings:
    """Of WORDS: a random text tower embeds all names nearly alike."""
    rows = sum(len(names) for names in WORDS.classes)
    generator = torch.Generator().manual_seed(13)
    return TextEmbeddings(F.normalize(torch.randn(rows, width, generator=generator), dim=1), WORDS)


def small_maps(
    backbone: Backbone, images: int = 2, height: int = 64, width: int = 96
) -> list[Tensor]:
    """Of random images, the same each time."""
    x = torch.randn(images, 3, height, width, generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        return backbone(x)


def draws(images: int, seed: int = 0) -> list[torch.Generator]:
    """A generator for each image."""
    return [torch.Generator().manual_seed(seed + image) for image in range(images)]
