"""Photos that installed packages bring, and crops of them: to try things on without a download."""

from __future__ import annotations

import random
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

# Photos, by package; the first is a portrait.
_PHOTOS = {
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "skimage": ("data/astronaut.png", "data/coffee.png", "data/chelsea.png", "data/rocket.jpg"),
}
_LEAST_SIDE = 0.5  # of a crop, by the photo's shorter side


def sample_files() -> list[Path]:
    """Those that are here of matplotlib's, scikit-learn's and scikit-image's.

    Raises:
        FileNotFoundError: none is here.
    """
    found: list[Path] = []
    for package, names in _PHOTOS.items():
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec is not None else []:
            found += [path for name in names if (path := Path(folder, name)).is_file()]
    if not found:
        raise FileNotFoundError(f"expected photos of {', '.join(_PHOTOS)}, got none of them")
    return found


def sample_photos() -> list[Image.Image]:
    """RGB; see `sample_files`."""
    return [Image.open(path).convert("RGB") for path in sample_files()]


def crops(photos: Sequence[Image.Image], count: int, seed: int) -> list[Image.Image]:
    """Squares of random sides and places, every other one mirrored, the photos in turn.

    Args:
        count: of all crops.
        seed: of sides and places.
    """
    drawn = random.Random(seed)
    made = []
    for number in range(count):
        photo = photos[number % len(photos)]
        side = int(min(photo.size) * drawn.uniform(_LEAST_SIDE, 1))
        x, y = (drawn.randint(0, extent - side) for extent in photo.size)
        crop = photo.crop((x, y, x + side, y + side))
        if number // len(photos) % 2:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        made.append(crop)
    return made
