"""Procedural scenes with a sentence each, augmented: what CLIP learns from."""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from sparse_ovs.backbones.clip_pixels import MEAN, STD
from sparse_ovs.data import Scenes
from sparse_ovs.text import TEMPLATES

_PROMPTS = (*TEMPLATES["bare"], *TEMPLATES["vild"])


class SceneCaptions(Dataset[tuple[Tensor, str]]):
    """Images (3, size, size) float32, normalised as CLIP's, and sentences.

    Of each scene a random square is shown, in either direction. The sentence is the scene's
    caption; or, so that short prompts are learnt too, a template with one of the things that the
    caption names. Random choices come from torch's global generator, which DatasetBatches seeds by
    item.

    Args:
        pairs: the first so many fitting scenes of the split "train", held in memory (uint8).
        objects: most of them in a scene.
        scene_size: of the scenes, pixels.
        size: of the images, pixels.
        crop: the smallest side of a square, as a share of the scene's.
        prompted: share of templates among the sentences.
        seed: of the scenes.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        pairs: int,
        objects: int,
        scene_size: int,
        size: int,
        crop: float,
        prompted: float,
        seed: int,
    ) -> None:
        for what, value in (("pairs", pairs), ("objects", objects), ("size", size)):
            if value < 1:
                raise ValueError(f"expected {what} >= 1, got {value}")
        if not 0 < crop <= 1 or not 0 <= prompted <= 1:
            raise ValueError(
                f"expected crop in (0, 1] and prompted in [0, 1], got {crop} and {prompted}"
            )
        self._size, self._crop, self._prompted = size, crop, prompted
        scenes = Scenes("train", scene_size, sys.maxsize, seed)
        pixels: list[np.ndarray] = []
        self._captions: list[str] = []
        self._named: list[tuple[str, ...]] = []
        index = 0
        while len(pixels) < pairs:
            scene = scenes.scene(index)
            index += 1
            if len(scene.objects) <= objects:
                pixels.append(scene.pixels)
                self._captions.append(scene.caption)
                self._named.append((*map(str, scene.objects), scene.ground))
        self._pixels = np.stack(pixels)
        self._mean = torch.tensor(MEAN)[:, None, None]
        self._std = torch.tensor(STD)[:, None, None]

    def __len__(self) -> int:
        return len(self._captions)

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        share, left, top, mirror, kind, template, named = torch.rand(7).tolist()
        side = self._pixels.shape[1] * (self._crop + (1 - self._crop) * share)
        x, y = (at * (self._pixels.shape[1] - side) for at in (left, top))
        image = Image.fromarray(self._pixels[index]).resize(
            (self._size, self._size), Image.Resampling.BILINEAR, (x, y, x + side, y + side)
        )
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
        if mirror < 0.5:
            pixels = pixels.flip(2)
        text = self._captions[index]
        if kind < self._prompted:
            things = self._named[index]
            text = _pick(_PROMPTS, template).replace("{}", _pick(things, named))
        return (pixels - self._mean) / self._std, text


def _pick(options: tuple[str, ...], number: float) -> str:
    return options[math.floor(number * len(options))]
