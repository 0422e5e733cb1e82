"""Own data in miniature."""

from __future__ import annotations

from pathlib import Path

from data.miniature.common import Labels, photos, save_all, some_labels, write


def narrow(root: Path, dataset: str) -> Labels:
    """8 bits, 3 classes."""
    return _made(root, 3, 255)


def wide(root: Path, dataset: str) -> Labels:
    """16 bits, 300 classes: 255 is one of them."""
    return _made(root, 300, 65535)


def in_splits(root: Path, dataset: str) -> Labels:
    """A folder for each split."""
    _made(root, 3, 255, "train")
    return _made(root, 3, 255, "val")


def _made(root: Path, classes: int, ignored: int, split: str = ".") -> Labels:
    expected = some_labels(classes)
    write(root / "names.txt", "".join(f"class {k}, kind {k}\n" for k in range(classes)))
    photos(root / "images" / split)
    save_all(root / "labels" / split, expected, ignored)
    return expected
