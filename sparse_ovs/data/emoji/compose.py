"""Lays sprites on a ground: the picture and whose each pixel is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sparse_ovs.data.emoji.grounds import make_ground

GROUND = -1
_CELLS = 2  # several things lie in the cells of a 2x2 grid, so each stays visible


@dataclass(frozen=True)
class Look:
    """How things vary.

    Attributes:
        alone, together: least and most of a thing's side, as a share of the picture's, of a
            single thing and of one among several.
        turn: most of a rotation either way, degrees.
        light, saturation, hue: most of a change either way: factors, and a turn in radians.
    """

    alone: tuple[float, float] = (0.4, 0.9)
    together: tuple[float, float] = (0.34, 0.6)
    turn: float = 20.0
    light: float = 0.25
    saturation: float = 0.35
    hue: float = 0.25


class Sprite:
    """A sprite at three sizes, to be scaled down without aliasing."""

    def __init__(self, pixels: np.ndarray) -> None:
        full = Image.frombuffer("RGBa", pixels.shape[:2], np.ascontiguousarray(pixels))
        self._sizes = [full, full.reduce(2), full.reduce(4)]

    def drawn(self, side: float, angle: float, mirrored: bool, x: float, y: float) -> np.ndarray:
        """uint8 (p, p, 4), turned and scaled, its middle at (x, y) of the p x p pixels' middle.

        Args:
            side: of the sprite, in pixels.
            x, y: fractions of a pixel.
        """
        source = next(
            (image for image in reversed(self._sizes) if image.width >= 0.8 * side),
            self._sizes[0],
        )
        cosine, sine = math.cos(angle), math.sin(angle)
        patch = math.ceil(side * (abs(cosine) + abs(sine))) + 2
        step = source.width / side
        flip = -1 if mirrored else 1
        a, b = flip * cosine * step, flip * sine * step
        d, e = -sine * step, cosine * step
        middle, half = patch / 2, source.width / 2
        at_x, at_y = middle + x, middle + y
        turned = source.transform(
            (patch, patch),
            Image.Transform.AFFINE,
            (a, b, half - a * at_x - b * at_y, d, e, half - d * at_x - e * at_y),
            Image.Resampling.BILINEAR,
        )
        return np.asarray(turned)


def compose(
    draw: np.random.Generator, ground: int, sprites: Sequence[Sprite], size: int, look: Look
) -> tuple[np.ndarray, np.ndarray]:
    """A picture of one to four things, later ones over earlier ones.

    Returns:
        uint8 (size, size, 3), RGB; int8 (size, size): the place in `sprites` of what is seen there,
        or GROUND.
    """
    picture = make_ground(draw, ground, size)
    owners = np.full((size, size), GROUND, np.int8)
    cells = draw.permutation(_CELLS**2)
    for place, sprite in enumerate(sprites):
        scale, turn, x, y, mirror = draw.random(5)
        least, most = look.together if len(sprites) > 1 else look.alone
        side = (least + (most - least) * scale) * size
        if len(sprites) > 1:
            x = (cells[place] % _CELLS + 0.5 + 0.24 * (x - 0.5)) / _CELLS
            y = (cells[place] // _CELLS + 0.5 + 0.24 * (y - 0.5)) / _CELLS
        else:  # anywhere, but for a little of it inside
            room = max(0.0, 1 - 0.85 * side / size)
            x, y = 0.5 + room * (x - 0.5), 0.5 + room * (y - 0.5)
        angle = math.radians(look.turn) * (2 * turn - 1)
        _lay(
            picture,
            owners,
            place,
            sprite.drawn(side, angle, mirror < 0.5, x * size % 1, y * size % 1),
            int(x * size),
            int(y * size),
            _colours(draw, look),
        )
    return np.clip(picture, 0, 255, out=picture).astype(np.uint8), owners


def _lay(
    picture: np.ndarray,
    owners: np.ndarray,
    place: int,
    patch: np.ndarray,
    x: int,
    y: int,
    colours: np.ndarray,
) -> None:
    size, side = len(picture), len(patch)
    left, top = x - side // 2, y - side // 2
    rows, columns = slice(max(0, top), top + side), slice(max(0, left), left + side)
    inside = patch[max(0, -top) : size - top, max(0, -left) : size - left]
    alpha = inside[..., 3:].astype(np.float32)
    tinted = inside[..., :3].astype(np.float32) @ colours
    np.clip(tinted, 0, alpha, out=tinted)
    there = picture[rows, columns]
    there *= 1 - alpha / 255
    there += tinted
    owners[rows, columns][inside[..., 3] > 127] = place


def _colours(draw: np.random.Generator, look: Look) -> np.ndarray:
    """float32 (3, 3): turns row vectors of red, green and blue around the grey axis, stretches them
    from it, and scales them."""
    light, saturation, hue = (2 * draw.random(3) - 1).tolist()
    angle = look.hue * hue
    third, root = (1 - math.cos(angle)) / 3, math.sin(angle) / math.sqrt(3)
    turned = np.full((3, 3), third) + math.cos(angle) * np.eye(3)
    turned += root * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]])
    grey = np.full((3, 3), 1 / 3)
    strength = 1 + look.saturation * saturation
    mixed = turned @ (grey + strength * (np.eye(3) - grey))
    return (mixed * (1 + look.light * light)).astype(np.float32)
