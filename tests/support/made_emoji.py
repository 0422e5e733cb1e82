"""Emoji without downloads: packages of a few drawings, and sprites of plain shapes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from sparse_ovs.data.emoji import CONCEPTS, VENDORS, names, packages, scenes, sprites
from sparse_ovs.data.emoji.packages import Package, integrity_of


def tarball(files: Mapping[str, object]) -> bytes:
    """As `npm pack` writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def put_packages(
    monkeypatch: pytest.MonkeyPatch, cache: Path, contents: Mapping[str, Mapping[str, object]]
) -> None:
    """Packages by name with their files, in a cache of their own, as the pinned ones."""
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(cache))
    folder = packages.packages_folder()
    folder.mkdir(parents=True)
    made = []
    for name, files in contents.items():
        data = tarball(files)
        made.append(Package(name, "1.0.0", integrity_of(data)))
        (folder / made[-1].tarball).write_bytes(data)
    for module in (packages, sprites):
        monkeypatch.setattr(module, "PACKAGES", tuple(made))
    forget()


def forget() -> None:
    """What was read of the packages."""
    names.emoji_names.cache_clear()
    sprites.load_sprites.cache_clear()


def put_sprites(monkeypatch: pytest.MonkeyPatch) -> sprites.Sprites:
    """Every concept as a filled shape of its own colour, by every vendor."""
    made = plain_sprites()
    monkeypatch.setattr(scenes, "load_sprites", lambda: made)
    return made


def plain_sprites() -> sprites.Sprites:
    """Discs and squares; the colours of all concepts differ."""
    side = sprites.SIDE
    across = (np.arange(side) + 0.5) / side * 2 - 1
    inside = [
        across[:, None] ** 2 + across**2 < 1,
        np.full((side, side), True),
    ]
    pixels = np.zeros((len(CONCEPTS) * len(VENDORS), side, side, 4), np.uint8)
    concepts, vendors = np.divmod(np.arange(len(pixels)), len(VENDORS))
    for picture, concept in zip(pixels, concepts, strict=True):
        picture[inside[concept % 2]] = (*colour_of(int(concept)), 255)
    return sprites.Sprites(pixels, concepts.astype(np.int16), vendors.astype(np.int16))


def colour_of(concept: int) -> tuple[int, int, int]:
    """Of `plain_sprites`."""
    return concept % 6 * 50, concept // 6 % 6 * 50, concept // 36 * 40


def put_keywords(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """The same keywords for every emoji."""
    named = {code: names.Named((), words) for concept in CONCEPTS for code in concept.codes}
    monkeypatch.setattr("sparse_ovs.training.emoji_captions.emoji_names", lambda: named)
