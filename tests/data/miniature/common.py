"""What all miniatures are made of: photos of noise, labels at random, label files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = {"one": (5, 7), "two": (4, 3)}
"""Image -> H, W."""

Labels = dict[str, np.ndarray]


def some_labels(classes: int, ignored: bool = True) -> Labels:
    """Labels at random; the first and the last class and -1 are among those of "one"."""
    draw = np.random.default_rng(classes)
    lowest = -1 if ignored else 0
    made = {
        name: draw.integers(lowest, classes, size).astype(np.int32) for name, size in SIZES.items()
    }
    made["one"][0, :3] = (0, classes - 1, lowest)
    return made


def photos(folder: Path, end: str = ".jpg", sizes: Mapping[str, tuple[int, int]] = SIZES) -> None:
    """Writes a photo of noise for each image."""
    draw = np.random.default_rng(7)
    for name, (height, width) in sizes.items():
        pixels = draw.integers(0, 256, (height, width, 3)).astype(np.uint8)
        save(folder / f"{name}{end}", pixels)


def save(path: Path, pixels: np.ndarray) -> None:
    """An image file of uint8 or uint16 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_palette(path: Path, ids: np.ndarray) -> None:
    """A PNG with a palette, in which ids are no grey levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids.astype(np.uint8), "L").convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette([(255 - k // 3) % 256 for k in range(768)])
    image.save(path)


def save_all(folder: Path, labels: Labels, ignored: int, end: str = ".png", add: int = 0) -> None:
    """Label files whose ids are class + add, and `ignored` for -1; 16 bits where `ignored` has."""
    width = np.uint16 if ignored > 255 else np.uint8
    for name, values in labels.items():
        ids = np.where(values < 0, ignored, values + add).astype(width)
        save(folder / f"{name}{end}", ids)


def write(path: Path, text: str) -> None:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def listed(path: Path) -> None:
    """A list of the images."""
    write(path, "".join(f"{name}\n" for name in SIZES))
