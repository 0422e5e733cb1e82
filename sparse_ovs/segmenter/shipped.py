"""Segmenters that come with the package, and a scene to try them on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sparse_ovs.data.scenes import Scenes
from sparse_ovs.data.textures import COLOURS

_FOLDER = Path(__file__).parent / "models"
DEMO = "scenes-maskformer"
"""A small mask head on the tiny CLIP, a tenth of whose weights is left; the recipe of that name."""


def shipped(name: str) -> Path | None:
    """The file of a segmenter by name; None where the package brings none of that name."""
    path = _FOLDER / f"{name}.safetensors"
    return path if name == path.stem and path.is_file() else None


def demo_scene(number: int = 2) -> tuple[Image.Image, str]:
    """A scene of compositions that no training shows, and a vocabulary for it: what is there, and
    the same shapes in another colour, which are not.

    Raises:
        IndexError: a number below 0 or above 999.
    """
    scene = Scenes("val-unseen", size=256, count=1000).scene(number)
    colours = list(COLOURS)
    names = [scene.ground]
    for thing in dict.fromkeys(scene.objects):
        other = colours[(colours.index(thing.colour) + 1) % len(colours)]
        names += [str(thing), f"{other} {thing.texture} {thing.shape}"]
    return Image.fromarray(scene.pixels), "; ".join(dict.fromkeys(names))
