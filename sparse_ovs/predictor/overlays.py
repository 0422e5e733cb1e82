"""Pictures with colours over them, and a legend below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Line = tuple[np.ndarray, str]  # (3,) uint8, and what it stands for


def check_alpha(alpha: float) -> None:
    """Raises ValueError for one that is not from 0 to 1."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"expected an alpha from 0 to 1, got {alpha}")


def blend(picture: Image.Image, labels: np.ndarray, table: np.ndarray, alpha: float) -> Image.Image:
    """The picture with colours over it where there are labels.

    Args:
        picture: RGB.
        labels: (H, W) integers, negative for none.
        table: (labels, 3) uint8.
        alpha: of the colours, 0 to 1.
    """
    # The last row is for what has no label, which negative numbers find from the end.
    padded = np.concatenate([table, np.zeros((1, 3), np.uint8)])
    mask = Image.fromarray(np.where(labels < 0, 0, round(alpha * 255)).astype(np.uint8))
    return Image.composite(Image.fromarray(padded[labels]), picture, mask)


def with_legend(picture: Image.Image, lines: Sequence[Line]) -> Image.Image:
    """The picture with a line of text below for each colour."""
    size = max(11, picture.width // 45)
    font = ImageFont.load_default(size)
    step, margin = round(size * 1.6), size // 2
    width = max([picture.width] + [round(font.getlength(t)) + 3 * size for _, t in lines])
    made = Image.new("RGB", (width, picture.height + step * len(lines) + margin), "white")
    made.paste(picture, (0, 0))
    draw = ImageDraw.Draw(made)
    for index, (colour, text) in enumerate(lines):
        top = picture.height + margin + index * step
        draw.rectangle((margin, top, margin + size, top + size), tuple(int(c) for c in colour))
        draw.text((margin + 2 * size, top + size / 2), text, "black", font, anchor="lm")
    return made
