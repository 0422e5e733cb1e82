"""Procedural scenes: textured, coloured shapes, labels in words, compositions held out.

A small world for training and scoring open-vocabulary models without any download. A class is a
colour, a texture and a shape ("red striped circle"), or the ground that the shapes lie on. One
composition in six is never shown in training, though its colour, texture and shape, and each two of
them together, are: a model that has learned words, not labels, finds it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image

from sparse_ovs.data.dataset import Sample, SegmentationDataset
from sparse_ovs.data.shapes import SHAPES
from sparse_ovs.data.textures import COLOURS, GROUNDS, TEXTURES

SPLITS = ("train", "val-seen", "val-unseen")
_CAPTIONS = (
    "{objects} on {ground}",
    "a picture of {objects} on {ground}",
    "{ground} with {objects}",
)
_SEPARATE = 2  # objects lie in the cells of a 2x2 grid, so none is hidden


@dataclass(frozen=True)
class Composition:
    """A colour, a texture and a shape, by name."""

    colour: str
    texture: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.texture} {self.shape}"


COMPOSITIONS = tuple(Composition(*words) for words in product(COLOURS, TEXTURES, SHAPES))
"""All 144; class number = number of grounds + place in here."""


def _held_out(number: int) -> bool:
    # A Latin square in (colour, texture, shape): every two of them occur with a third in training.
    shape = number % len(SHAPES)
    texture = number // len(SHAPES) % len(TEXTURES)
    colour = number // (len(SHAPES) * len(TEXTURES))
    return (colour + texture + shape) % len(SHAPES) == 0


UNSEEN = frozenset(len(GROUNDS) + k for k in range(len(COMPOSITIONS)) if _held_out(k))
"""Classes that the split "train" never shows."""

_NAMES = tuple(GROUNDS) + tuple(str(composition) for composition in COMPOSITIONS)
_SEEN = [k for k in range(len(COMPOSITIONS)) if not _held_out(k)]
_HELD = [k for k in range(len(COMPOSITIONS)) if _held_out(k)]


@dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
        pixels: uint8 (size, size, 3), RGB.
        labels: int32 (size, size), a class for every pixel.
        objects: what lies on the ground, in the order of the caption.
        ground: name of the ground.
        caption: a sentence that names all objects and the ground.
    """

    pixels: np.ndarray
    labels: np.ndarray
    objects: tuple[Composition, ...]
    ground: str
    caption: str


class Scenes(SegmentationDataset):
    """Scenes of a split; every one is made when it is asked for, the same each time.

    Which scene an index gives depends on the seed, the split, the index and the size only.

    Args:
        split: "train" and "val-seen" show the compositions that are not held out, in different
            scenes; "val-unseen" shows only held-out ones.
        size: of the images, pixels, height and width.
        count: of images.
        seed: of all of them.

    Attributes:
        unseen: class numbers that "train" never shows.

    Raises:
        ValueError: no such split, a size below 32, a count below 1, or a negative seed.
    """

    name = "scenes"
    classes = _NAMES
    background = None
    unseen = UNSEEN

    def __init__(
        self, split: str = "train", size: int = 128, count: int = 1000, seed: int = 0
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"expected split {', '.join(SPLITS)}, got {split!r}")
        if size < 32:
            raise ValueError(f"expected size >= 32 pixels, got {size}")
        if count < 1 or seed < 0:
            raise ValueError(f"expected count >= 1 and seed >= 0, got {count} and {seed}")
        self.split = split
        self.size = size
        self.seed = seed
        self._count = count
        self._shown = _HELD if split == "val-unseen" else _SEEN
        steps = (np.arange(size, dtype=np.float32) + 0.5) / size
        self._columns, self._rows = steps[None, :], steps[:, None]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        scene = self.scene(index)
        return Sample(self.name_of(index), Image.fromarray(scene.pixels), scene.labels)

    def name_of(self, index: int) -> str:
        return f"{self.split}-{index:06d}"

    def caption(self, index: int) -> str:
        """The sentence that goes with an image."""
        return self.scene(index).caption

    def scene(self, index: int) -> Scene:
        """Everything about one scene.

        Raises:
            IndexError: not 0 <= index < len.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"expected 0 <= index < {self._count}, got {index}")
        draw = np.random.default_rng((self.seed, SPLITS.index(self.split), index))
        ground = _pick(draw, len(GROUNDS))
        pixels = self._ground(draw, ground)
        labels = np.full((self.size, self.size), ground, np.int32)
        cells = draw.permutation(_SEPARATE**2)[: 1 + _pick(draw, _SEPARATE**2)]
        objects = []
        for cell in cells:
            number = self._shown[_pick(draw, len(self._shown))]
            objects.append(COMPOSITIONS[number])
            self._paint(draw, pixels, labels, int(cell), number)
        np.clip(pixels, 0, 255, out=pixels)
        name = tuple(GROUNDS)[ground]
        listed = [f"{_article(o.colour)} {o}" for o in objects]
        text = _CAPTIONS[_pick(draw, len(_CAPTIONS))].format(objects=_and(listed), ground=name)
        return Scene(pixels.astype(np.uint8), labels, tuple(objects), name, text)

    def _ground(self, draw: np.random.Generator, ground: int) -> np.ndarray:
        """The ground's colour with grains and a slow change of light, float32 (size, size, 3)."""
        colour, across, down = tuple(GROUNDS.values())[ground]
        grains = draw.random((down, across), np.float32)
        light = draw.random((3, 3), np.float32)
        noise = 36 * (self._spread(grains) - 0.5) + 40 * (self._spread(light) - 0.5)
        return np.asarray(colour, np.float32) + noise[..., None]

    def _spread(self, values: np.ndarray) -> np.ndarray:
        image = Image.fromarray(values)
        return np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR))

    def _paint(
        self,
        draw: np.random.Generator,
        pixels: np.ndarray,
        labels: np.ndarray,
        cell: int,
        number: int,
    ) -> None:
        composition = COMPOSITIONS[number]
        at_x, at_y, wide, turn, tone, period, phase_u, phase_v, shade, slant = draw.random(10)
        radius = 0.13 + 0.09 * wide  # of the image's side
        x = (cell % _SEPARATE + 0.5) / _SEPARATE + 0.08 * (at_x - 0.5)
        y = (cell // _SEPARATE + 0.5) / _SEPARATE + 0.08 * (at_y - 0.5)
        columns = slice(max(0, int((x - radius) * self.size)), int((x + radius) * self.size) + 1)
        rows = slice(max(0, int((y - radius) * self.size)), int((y + radius) * self.size) + 1)
        across = (self._columns[:, columns] - np.float32(x)) / np.float32(radius)
        down = (self._rows[rows] - np.float32(y)) / np.float32(radius)
        inside = SHAPES[composition.shape](*_turned(across, down, 0.7 * (turn - 0.5)))
        u, v = _turned(across, down, math.pi * slant)
        width = 0.42 + 0.2 * period
        second = TEXTURES[composition.texture](u + 2 * phase_u, v + 2 * phase_v, width)
        tones = np.empty((2, 3), np.float32)
        tones[0] = np.asarray(COLOURS[composition.colour]) * (0.85 + 0.25 * shade)
        tones[1] = 245 if tone < 0.5 else 20
        pixels[rows, columns][inside] = tones[second[inside].astype(np.int8)]
        labels[rows, columns][inside] = len(GROUNDS) + number


def _turned(u: np.ndarray, v: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return u * cosine + v * sine, v * cosine - u * sine


def _pick(draw: np.random.Generator, count: int) -> int:
    return int(draw.random() * count)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
