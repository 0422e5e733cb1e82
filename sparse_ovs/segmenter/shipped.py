"""Segmenters that come with the package, and scenes to try them on."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

_FOLDER = Path(__file__).parent / "models"
_SCENES = _FOLDER / "emoji-scenes"
DEMO = "emoji-maskformer"
"""A small mask head on the tiny CLIP of emoji, a tenth of whose weights is left; the recipe of that
name."""


def shipped(name: str) -> Path | None:
    """The file of a segmenter by name; None where the package brings none of that name."""
    path = _FOLDER / f"{name}.safetensors"
    return path if name == path.stem and path.is_file() else None


def demo_scenes() -> list[tuple[Image.Image, str]]:
    """Scenes of 256 x 256 by a hand that no training showed, each with a vocabulary: what is there,
    and a few things that are not."""
    words: list[str] = json.loads((_SCENES / "words.json").read_text())
    return [
        (Image.open(_SCENES / f"{number:02d}.jpg").convert("RGB"), asked)
        for number, asked in enumerate(words)
    ]


def demo_scene(number: int = 2) -> tuple[Image.Image, str]:
    """One of `demo_scenes`.

    Raises:
        IndexError: no such scene.
    """
    return demo_scenes()[number]
