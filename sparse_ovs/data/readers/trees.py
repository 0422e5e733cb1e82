"""Finds out which of the known folder layouts a dataset has on this disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse_ovs.data.labelled_files import Item, LabelledFiles

LONG = {"train": "training", "val": "validation"}
"""How ADE20K and trees made for detectron2 spell the splits."""


@dataclass(frozen=True)
class Tree:
    """One layout.

    Attributes:
        style: raw, or for whom it was prepared: detectron2, mmseg, san.
        needs: files and folders that tell it from the others.
        open: reads it.
    """

    style: str
    needs: tuple[Path, ...]
    open: Callable[[], LabelledFiles]


def open_first(name: str, root: Path, trees: Sequence[Tree]) -> LabelledFiles:
    """The first tree that is there; the raw download comes first.

    Raises:
        ValueError: none is; says what is missing for each.
    """
    for tree in trees:
        if all(path.exists() for path in tree.needs):
            return tree.open()
    found = [tree for tree in trees if any(path.exists() for path in tree.needs)]
    missing = ", ".join(
        f"{path} ({tree.style})"
        for tree in found or trees
        for path in tree.needs
        if not path.exists()
    )
    raise ValueError(f"expected {name} under {root}, got none of: {missing}")


def bases(root: Path, *names: str) -> list[Path]:
    """The dataset's own folder inside the root, or the root itself where that was given."""
    return [*(root / name for name in names), root]


def pair_by_name(labels: Path, images: Path, label_end: str = ".png") -> list[Item]:
    """An item for each file in `labels` that ends with `label_end`; images are `.jpg`."""
    names = sorted(path.name for path in labels.iterdir() if path.name.endswith(label_end))
    return pair([name.removesuffix(label_end) for name in names], labels, images, label_end)


def pair(stems: Iterable[str], labels: Path, images: Path, label_end: str = ".png") -> list[Item]:
    """An item for each stem; images are `.jpg`."""
    return [Item(stem, images / f"{stem}.jpg", labels / f"{stem}{label_end}") for stem in stems]


def read_list(path: Path) -> list[str]:
    """Names of images, one a line, the first word of it (PASCAL's lists)."""
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def first_file(paths: Sequence[Path], what: str) -> Path:
    """The first that is there.

    Raises:
        ValueError: none is.
    """
    for path in paths:
        if path.is_file():
            return path
    raise ValueError(f"expected {what}, got none of: {', '.join(map(str, paths))}")
