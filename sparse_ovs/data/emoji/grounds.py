"""What the things of emoji scenes lie on: eight made textures with a name each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

Draw = np.random.Generator


def _grained(
    colour: tuple[int, int, int], *grains: tuple[int, int, float], tint: float = 0.0
) -> Callable[[Draw, int], np.ndarray]:
    """A colour with layers of noise: (grains across, down, strength) each.

    Args:
        tint: how much less of the noise red and blue show than green.
    """
    base = np.array(colour, np.float32)
    weights = np.array([1 - tint, 1, 1 - tint], np.float32)

    def ground(draw: Draw, size: int) -> np.ndarray:
        noise = sum(strength * _noise(draw, size, *shape) for *shape, strength in grains)
        return base + np.asarray(noise)[..., None] * weights

    return ground


def _wood(draw: Draw, size: int) -> np.ndarray:
    across = np.arange(size, dtype=np.float32)[None, :] / size
    rings = np.sin((20 + 40 * draw.random()) * (across + 0.15 * _noise(draw, size, 3, 3)))
    tone = 22 * rings + 50 * _noise(draw, size, 32, 4)
    return np.array((165, 115, 70), np.float32) + tone[..., None]


def _brick(draw: Draw, size: int) -> np.ndarray:
    height = 0.1 + 0.08 * draw.random()  # of a course, as a share of the side
    along, down = np.meshgrid(np.arange(size) / size, np.arange(size) / size + draw.random())
    odd = np.floor(down / height) % 2
    mortar = np.minimum((along / height / 2 + odd / 2) % 1 * 2, down / height % 1) < 0.13
    colours = np.array([(170, 80, 60), (200, 195, 185)], np.float32)
    return colours[mortar.astype(np.int8)] + 40 * _noise(draw, size, 20, 20)[..., None]


def _sky(draw: Draw, size: int) -> np.ndarray:
    cloud = np.clip(0.3 + 2.2 * _noise(draw, size, 5, 8), 0, 1)[..., None]
    height = np.linspace(-25, 25, size, dtype=np.float32)[:, None, None]
    blue = np.array((100, 160, 235), np.float32) + height
    return blue + cloud * (245 - blue)


GROUNDS: dict[str, Callable[[Draw, int], np.ndarray]] = {
    "sand": _grained((216, 198, 158), (48, 48, 44), (10, 10, 24)),
    "snow": _grained((232, 236, 242), (6, 6, 28), (48, 48, 9)),
    "asphalt": _grained((88, 88, 94), (64, 64, 60), (16, 16, 22)),
    "water": _grained((110, 175, 205), (5, 30, 60), (10, 64, 24)),
    "grass": _grained((90, 150, 60), (80, 32, 75), (12, 12, 34), tint=0.35),
    "wood": _wood,
    "brick": _brick,
    "sky": _sky,
}
"""Name -> random numbers, side -> float32 (side, side, 3), about 0 to 255."""


def make_ground(draw: Draw, ground: int, size: int) -> np.ndarray:
    """float32 (size, size, 3): one of GROUNDS with a slow change of light and of tone; not clipped
    to 0..255."""
    made = list(GROUNDS.values())[ground](draw, size)
    made += draw.standard_normal(3, np.float32) * 14 + 60 * _noise(draw, size, 3, 3)[..., None]
    return made


def _noise(draw: Draw, size: int, across: int, down: int) -> np.ndarray:
    """float32 (size, size): smooth noise around 0, of so many grains; -0.5 to 0.5."""
    grains = Image.fromarray(draw.random((down, across), np.float32) - np.float32(0.5))
    return np.asarray(grains.resize((size, size), Image.Resampling.BILINEAR))
