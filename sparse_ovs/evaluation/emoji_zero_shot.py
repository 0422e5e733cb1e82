"""Zero-shot classification of emoji drawn by hands that training never showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from sparse_ovs.backbones import Backbone
from sparse_ovs.data.emoji import CONCEPTS, HANDS, PLAIN, Hands
from sparse_ovs.evaluation.nearest_name import Encode, ranks_of_names

_LOOK = replace(PLAIN, alone=(0.6, 1.0))


@dataclass(frozen=True)
class ZeroShot:
    """What was found.

    Attributes:
        top1, top5: share of pictures whose own name, of all 200, is the nearest, or among the five
            nearest.
        pictures: that were shown.
    """

    top1: float
    top5: float
    pictures: int


def emoji_zero_shot(
    backbone: Backbone,
    split: str = "val",
    pictures: int = 8,
    templates: str | Sequence[str] = "bare",
    seed: int = 0,
    encode: Encode | None = None,
) -> ZeroShot:
    """Names single things on made grounds, which fill more than half of the picture.

    Args:
        backbone: a CLIP that knows the concepts' words; in eval mode.
        split: see `EmojiScenes`.
        pictures: of each concept.
        templates: see `embed_vocabulary`.
        seed: of the pictures; those of a seed and a split are always the same.
        encode: such as a compiled encoder's; None takes the backbone's CLIP.

    Raises:
        ValueError: an argument out of its range, or words that the tokenizer does not know.
        MissingPackages, ImportError: see `EmojiScenes`.
    """
    if pictures < 1:
        raise ValueError(f"expected pictures >= 1, got {pictures}")
    hands = Hands(split)
    wanted = [concept for concept in range(len(CONCEPTS)) for _ in range(pictures)]
    visual: Any = backbone.clip.visual
    size = max(np.atleast_1d(visual.image_size))
    shown = []
    for number, concept in enumerate(wanted):
        draw = np.random.default_rng((seed, list(HANDS).index(split), number))
        shown.append(Image.fromarray(hands.scene(draw, (concept,), int(size), _LOOK).pixels))
    names = [concept.name for concept in CONCEPTS]
    ranks = ranks_of_names(backbone, shown, wanted, names, templates, encode)
    return ZeroShot(
        int((ranks == 0).sum()) / len(wanted), int((ranks < 5).sum()) / len(wanted), len(wanted)
    )
