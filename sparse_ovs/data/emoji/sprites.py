"""Small pictures of the concepts by all vendors, drawn from SVG once and kept."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from sparse_ovs.cache import cache_folder
from sparse_ovs.data.emoji.concepts import CONCEPTS, Concept
from sparse_ovs.data.emoji.iconify import IconSet
from sparse_ovs.data.emoji.names import emoji_names
from sparse_ovs.data.emoji.packages import PACKAGES, Say, package, require_packages
from sparse_ovs.data.emoji.vendors import VENDORS
from sparse_ovs.formats import replace_file

SIDE = 96
_DRAWN = 2 * SIDE  # before what is around a thing is cut off
_FAINT = 20  # of 255: alpha up to here is around a thing
_FORMAT = 1  # to be raised when the same packages would give other pictures


@dataclass(frozen=True)
class Sprites:
    """Pictures.

    Attributes:
        pixels: uint8 (N, 96, 96, 4): red, green and blue times alpha, alpha. A thing fills its
            picture's height or width.
        concepts: int16 (N,): places in CONCEPTS.
        vendors: int16 (N,): places in VENDORS.
    """

    pixels: np.ndarray
    concepts: np.ndarray
    vendors: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def by_vendors(self, names: Sequence[str]) -> Sprites:
        """Those that some vendors drew.

        Raises:
            ValueError: no such vendor.
        """
        known = [vendor.name for vendor in VENDORS]
        for name in names:
            if name not in known:
                raise ValueError(f"expected vendors of {', '.join(known)}, got {name!r}")
        theirs = np.isin(self.vendors, [known.index(name) for name in names])
        return Sprites(self.pixels[theirs], self.concepts[theirs], self.vendors[theirs])


@cache
def load_sprites() -> Sprites:
    """All vendors' pictures of CONCEPTS, from the cache, or drawn into it.

    Raises:
        MissingPackages: emoji packages are not in the cache.
        ImportError: pictures are to be drawn and resvg_py is not installed.
    """
    require_packages(PACKAGES)
    kept = sprites_file()
    if not kept.is_file():
        draw_sprites()
    with np.load(kept) as arrays:
        return Sprites(arrays["pixels"], arrays["concepts"], arrays["vendors"])


def sprites_file() -> Path:
    """Where the pictures of these packages and concepts are kept."""
    what = json.dumps([_FORMAT, SIDE, [p.integrity for p in PACKAGES], [c.codes for c in CONCEPTS]])
    digest = hashlib.sha256(what.encode()).hexdigest()[:16]
    return cache_folder() / "emoji" / f"sprites-{digest}.npz"


def draw_sprites(say: Say = lambda line: None) -> Path:
    """Draws all pictures into the cache: about half a minute of one core.

    Raises:
        As `load_sprites`.
    """
    pixels: list[np.ndarray] = []
    places: list[tuple[int, int]] = []
    sets = {vendor.name: IconSet(package(vendor.package)) for vendor in VENDORS}
    for number, vendor in enumerate(VENDORS):
        say(f"draw {vendor.name}")
        for place, concept in enumerate(CONCEPTS):
            for svg in _pictures(concept, sets[vendor.name], sets.values()):
                pixels.append(sprite(svg))
                places.append((place, number))
    columns = np.array(places, np.int16)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, pixels=np.stack(pixels), concepts=columns[:, 0], vendors=columns[:, 1]
    )
    kept = sprites_file()
    kept.parent.mkdir(parents=True, exist_ok=True)
    replace_file(kept, buffer.getvalue())
    return kept


def sprite(svg: str) -> np.ndarray:
    """uint8 (96, 96, 4): what an SVG shows, cut to what is visible, in the middle.

    Raises:
        ValueError: nothing is visible.
        ImportError: resvg_py is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise ImportError(
            "expected resvg_py, which draws the emoji, got none: pip install 'sparse_ovs[emoji]'"
        ) from error
    drawn = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=_DRAWN))))
    picture = drawn.convert("RGBA").convert("RGBa")
    box = picture.getchannel("a").point(lambda alpha: 255 * (alpha > _FAINT)).getbbox()
    if box is None:
        raise ValueError("expected an SVG that shows something, got none")
    seen = picture.crop(box)
    scale = SIDE / max(seen.size)
    width, height = (max(1, round(side * scale)) for side in seen.size)
    placed = np.zeros((SIDE, SIDE, 4), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    resized = seen.resize((width, height), Image.Resampling.LANCZOS)
    placed[top : top + height, left : left + width] = np.asarray(resized)
    # Lanczos rings: no colour may be brighter than its alpha.
    placed[..., :3] = np.minimum(placed[..., :3], placed[..., 3:])
    return placed


def _pictures(concept: Concept, own: IconSet, sets: Iterable[IconSet]) -> Iterator[str]:
    """The set's SVGs of a concept."""
    for code in concept.codes:
        # What other sets call the code point helps with those that know names alone.
        others = [name for icons in sets if (name := icons.name_of(code))]
        found = own.find(code, (*emoji_names()[code].slugs, *others))
        if found is not None:
            yield own.svg(found)
