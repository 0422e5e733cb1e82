"""Reads image files: photos as upright 8-bit RGB, label files as whole numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

_WIDE = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """A photo as RGB, 8 bit, upright: EXIF orientation applied, alpha dropped, palettes resolved,
    16-bit grey scaled to 8 bit.

    Raises:
        ValueError: no such file, or not a readable image.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"expected an image at {path}, got no such file")
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except Exception as error:  # decoders raise nearly anything at damaged files
        raise ValueError(f"expected a readable image, got {path}: {error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL image as upright 8-bit RGB.

    Raises:
        ValueError: floating-point pixels, whose range nobody knows.
        OSError: its file ends early.
    """
    if image.mode == "F":
        raise ValueError("expected pixels of 8 or 16 bits, got floating point")
    image = ImageOps.exif_transpose(image)
    if image.mode in _WIDE:
        # PIL's own conversion clips at 255 instead of scaling.
        pixels = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))
    return image.convert("RGB")


def read_ids(path: str | os.PathLike[str]) -> np.ndarray:
    """A label file (PNG, TIFF; grey of 8 or 16 bits, or palette) as int32 (H, W): the numbers
    in the file, palette indices too, never colours.

    Raises:
        ValueError: no such file, not readable, or more than one channel.
    """
    image = _open_labels(path)
    if image.mode not in _WIDE and image.mode not in ("L", "P", "1"):
        raise ValueError(
            f"expected labels of one channel (grey or palette), got mode {image.mode} in {path}"
        )
    return np.asarray(image).astype(np.int32)


def read_colours(path: str | os.PathLike[str]) -> np.ndarray:
    """A label file whose ids are coded in colours, uint8 (H, W, 3).

    Raises:
        ValueError: no such file, not readable, or not RGB.
    """
    image = _open_labels(path)
    if image.mode != "RGB":
        raise ValueError(f"expected labels coded in RGB, got mode {image.mode} in {path}")
    return np.asarray(image)


def _open_labels(path: str | os.PathLike[str]) -> Image.Image:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"expected labels at {path}, got no such file")
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except Exception as error:  # decoders raise nearly anything at damaged files
        raise ValueError(f"expected readable labels, got {path}: {error}") from error
