"""Pictures of emoji with a sentence each, every thing of a batch another: what CLIP learns from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparse_ovs.backbones.clip_pixels import MEAN, STD
from sparse_ovs.data.emoji.compose import Look
from sparse_ovs.data.emoji.concepts import CONCEPTS
from sparse_ovs.data.emoji.grounds import GROUNDS
from sparse_ovs.data.emoji.names import emoji_names
from sparse_ovs.data.emoji.scenes import Hands
from sparse_ovs.text import TEMPLATES

PROMPTS = (*TEMPLATES["bare"], "a {}", "a picture of a {}", "a drawing of a {}", *TEMPLATES["vild"])
ON_GROUNDS = (
    "{} on {ground}",
    "a photo of {} on {ground}",
    "a picture of {} on {ground}",
    "{ground} with {}",
)
_THINGS = len(CONCEPTS) + len(GROUNDS)
_SECOND = 0.3  # share of pictures with a second thing
_ON_GROUND, _WITH_KEYWORD = 0.35, 0.1  # shares of captions
_KEYWORDS = 3  # of a concept, at most


class EmojiCaptions:
    """Batches of images and sentences by number.

    No two pictures of a batch have the same first thing: else their sentences would be told from
    each other for nothing. A thing is a concept or a bare ground, all equally frequent.

    Args:
        batch: pictures, at most as many as things, 208.
        size: of the images, pixels.
        seed: of all.

    Raises:
        ValueError: an argument out of its range.
        MissingPackages, ImportError: see `Hands`.
    """

    def __init__(self, batch: int, size: int, seed: int) -> None:
        if not 1 <= batch <= _THINGS:
            raise ValueError(f"expected a batch of 1 to {_THINGS} emoji, got {batch}")
        if size < 1:
            raise ValueError(f"expected size >= 1, got {size}")
        self._batch, self._size, self._seed = batch, size, seed
        self._hands = Hands("train")
        self._keywords = [keywords(place) for place in range(len(CONCEPTS))]
        self._mean = np.array(MEAN, np.float32)[:, None, None]
        self._std = np.array(STD, np.float32)[:, None, None]

    def __call__(self, number: int) -> tuple[Tensor, list[str]]:
        """(B, 3, size, size) float32, normalised as CLIP's, and B sentences."""
        draw = np.random.default_rng((self._seed, number))
        pixels = np.empty((self._batch, 3, self._size, self._size), np.float32)
        sentences = []
        for row, thing in zip(pixels, draw.permutation(_THINGS).tolist(), strict=False):
            shown, sentence = self._pair(draw, thing)
            row[:] = (shown.transpose(2, 0, 1) / np.float32(255) - self._mean) / self._std
            sentences.append(sentence)
        return torch.from_numpy(pixels), sentences

    def _pair(self, draw: np.random.Generator, thing: int) -> tuple[np.ndarray, str]:
        if thing >= len(CONCEPTS):
            ground = thing - len(CONCEPTS)
            scene = self._hands.scene(draw, (), self._size, Look(), ground)
            return scene.pixels, _one_of(draw, PROMPTS).format(list(GROUNDS)[ground])
        concepts = [thing]
        if draw.random() < _SECOND:
            concepts.append(int(draw.random() * len(CONCEPTS)))
        order = tuple(draw.permutation(concepts).tolist())
        scene = self._hands.scene(draw, order, self._size, Look())
        names = [CONCEPTS[concept].name for concept in draw.permutation(concepts)]
        kind = draw.random()
        if kind < _ON_GROUND:
            named = " and ".join(f"{article(name)} {name}" for name in names)
            ground_name = list(GROUNDS)[scene.ground]
            return scene.pixels, _one_of(draw, ON_GROUNDS).format(named, ground=ground_name)
        if kind > 1 - _WITH_KEYWORD and self._keywords[thing] and len(names) == 1:
            sentence = f"{names[0]}, {_one_of(draw, self._keywords[thing])}"
        else:
            sentence = " and ".join(names)
        return scene.pixels, _one_of(draw, PROMPTS).format(sentence)


def keywords(place: int) -> tuple[str, ...]:
    """Single words that the lists give a concept beside its own name, a few at most.

    Raises:
        MissingPackages: the lists are not in the cache.
    """
    concept = CONCEPTS[place]
    found = emoji_names()[concept.codes[0]].keywords
    own = concept.name.split()
    return tuple(word for word in found if word.isalpha() and word not in own)[:_KEYWORDS]


def article(word: str) -> str:
    """ "an" before a vowel, else "a"."""
    return "an" if word[0] in "aeiou" else "a"


def _one_of(draw: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(draw.random() * len(options))]
