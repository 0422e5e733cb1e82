"""Scenes of emoji: things that one vendor drew on made grounds, with exact masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from sparse_ovs.data.dataset import Sample, SegmentationDataset
from sparse_ovs.data.emoji.compose import Look, Sprite, compose
from sparse_ovs.data.emoji.concepts import CONCEPTS, SEEN, UNSEEN
from sparse_ovs.data.emoji.grounds import GROUNDS
from sparse_ovs.data.emoji.sprites import load_sprites

TRAINED_ON = ("noto", "noto-v1", "fluent-emoji", "fluent-emoji-flat", "fxemoji", "emojione")
"""Vendors of the split "train": none of those whose works must be shared alike."""

HANDS = {
    "train": TRAINED_ON,
    "tune": ("emojione-v1",),
    "val": ("twemoji",),
    "val-hard": ("openmoji",),
}
"""Vendors by split. No two splits share one."""

_MOST = 4  # things in a scene
PLAIN = Look(light=0.1, saturation=0.1, hue=0.05)
"""How things vary where networks are judged."""


@dataclass(frozen=True)
class EmojiScene:
    """One scene.

    Attributes:
        pixels: uint8 (size, size, 3), RGB.
        owners: int8 (size, size): place in `concepts` of what a pixel shows, or GROUND.
        concepts: places in CONCEPTS, later ones lie over earlier ones.
        ground: place in GROUNDS.
    """

    pixels: np.ndarray
    owners: np.ndarray
    concepts: tuple[int, ...]
    ground: int


class Hands:
    """Draws concepts by the vendors of a split.

    Raises:
        ValueError: no such split.
        MissingPackages: emoji packages are not in the cache.
        ImportError: pictures are to be drawn first and resvg_py is not installed.
    """

    def __init__(self, split: str) -> None:
        if split not in HANDS:
            raise ValueError(f"expected split {', '.join(HANDS)}, got {split!r}")
        theirs = load_sprites().by_vendors(HANDS[split])
        self._sprites: list[list[Sprite]] = [[] for _ in CONCEPTS]
        for pixels, concept in zip(theirs.pixels, theirs.concepts, strict=True):
            self._sprites[concept].append(Sprite(pixels))

    def scene(
        self,
        draw: np.random.Generator,
        concepts: tuple[int, ...],
        size: int,
        look: Look,
        ground: int | None = None,
    ) -> EmojiScene:
        """These concepts, none to four, on a ground, by default any."""
        any_ground, *ranks = (int(number * 2**31) for number in draw.random(1 + len(concepts)))
        if ground is None:
            ground = any_ground % len(GROUNDS)
        sprites = [
            self._sprites[concept][rank % len(self._sprites[concept])]
            for concept, rank in zip(concepts, ranks, strict=True)
        ]
        pixels, owners = compose(draw, ground, sprites, size, look)
        return EmojiScene(pixels, owners, concepts, ground)


class EmojiScenes(SegmentationDataset):
    """Scenes of a split; every one is made when it is asked for, the same each time.

    Which scene an index gives depends on the seed, the split, the index and the size only. The
    classes are the grounds and the concepts that heads are asked for; see `Concept.role`.

    Args:
        split: "train" shows seen concepts by six vendors; the others show seen and unseen ones
            side by side: "tune" by emojione-v1, "val" by twemoji, "val-hard" by openmoji, whose
            hand is the most unlike.
        size: of the images, pixels, height and width.
        count: of images.
        seed: of all of them.

    Attributes:
        unseen: class numbers that "train" never shows.

    Raises:
        ValueError: no such split, a size below 32, a count below 1, or a negative seed.
        MissingPackages: emoji packages are not in the cache.
        ImportError: pictures are to be drawn first and resvg_py is not installed.
    """

    name = "emoji"
    background = None
    _asked = tuple(
        place for place, concept in enumerate(CONCEPTS) if concept.role in (SEEN, UNSEEN)
    )
    classes = (*GROUNDS, *(CONCEPTS[place].name for place in _asked))
    unseen = frozenset(
        len(GROUNDS) + number
        for number, place in enumerate(_asked)
        if CONCEPTS[place].role == UNSEEN
    )

    def __init__(
        self, split: str = "train", size: int = 128, count: int = 1000, seed: int = 0
    ) -> None:
        if size < 32:
            raise ValueError(f"expected size >= 32 pixels, got {size}")
        if count < 1 or seed < 0:
            raise ValueError(f"expected count >= 1 and seed >= 0, got {count} and {seed}")
        self._hands = Hands(split)
        self.split, self.size, self.seed, self._count = split, size, seed, count
        shown = (SEEN,) if split == "train" else (SEEN, UNSEEN)
        self._shown = [p for p in self._asked if CONCEPTS[p].role in shown]
        self._look = Look() if split == "train" else PLAIN
        numbers = {place: len(GROUNDS) + number for number, place in enumerate(self._asked)}
        self._class_of = np.array([numbers.get(p, 0) for p in range(len(CONCEPTS))], np.int32)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        scene = self.scene(index)
        classes = np.append(self._class_of[list(scene.concepts)], scene.ground).astype(np.int32)
        # GROUND, -1, takes the last.
        return Sample(self.name_of(index), Image.fromarray(scene.pixels), classes[scene.owners])

    def name_of(self, index: int) -> str:
        return f"{self.split}-{index:06d}"

    def scene(self, index: int) -> EmojiScene:
        """Everything about one scene.

        Raises:
            IndexError: not 0 <= index < len.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"expected 0 <= index < {self._count}, got {index}")
        draw = np.random.default_rng((self.seed, list(HANDS).index(self.split), index))
        things = 1 + int(draw.random() * _MOST)
        chosen = draw.choice(len(self._shown), things, replace=False)
        concepts = tuple(self._shown[number] for number in chosen)
        return self._hands.scene(draw, concepts, self.size, self._look)
