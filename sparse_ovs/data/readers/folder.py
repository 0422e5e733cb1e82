"""Anyone's own data: images, label PNGs of the same names, and a list of classes."""

from __future__ import annotations

from pathlib import Path

from sparse_ovs.data.ids import IdMap
from sparse_ovs.data.image_folder import IMAGE_SUFFIXES
from sparse_ovs.data.labelled_files import Item, LabelledFiles
from sparse_ovs.data.name_files import read_name_list

_IGNORED = {255, 65535}


def open_folder(name: str, root: Path, split: str, background: str | None = None) -> LabelledFiles:
    """`images/`, `labels/` (PNG of 8 or 16 bits, pixel = class) and `names.txt` (line k + 1 = class
    k; synonyms apart by ", "). Folders in them are looked into; where `images/SPLIT` exists, only
    that (and `labels/SPLIT`) is. Pixels of 255 and 65535 do not count, unless there are so many
    classes.

    Args:
        background: the class in `names.txt` that stands for "none of them", if one does.

    Raises:
        ValueError: files are not there, an image has no labels, two images have one name, or
            `background` is not listed.
    """
    classes = read_name_list(root / "names.txt")
    if background is not None and background not in classes:
        raise ValueError(
            f"expected background to be a line of {root / 'names.txt'}, got {background!r}"
        )
    images, labels = root / "images", root / "labels"
    if (images / split).is_dir():
        images, labels = images / split, labels / split
    for path in (images, labels):
        if not path.is_dir():
            raise ValueError(f"expected a folder {path}, got none")
    items: dict[str, Item] = {}
    for path in sorted(images.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            continue
        stem = path.relative_to(images).with_suffix("")
        if str(stem) in items:
            raise ValueError(f"expected one image named {stem} in {images}, got two")
        items[str(stem)] = Item(str(stem), path, labels / f"{stem}.png")
    without = [item.labels for item in items.values() if not item.labels.is_file()]
    if without:
        raise ValueError(
            f"expected labels for each of {len(items)} images, got none for {len(without)}: "
            f"{without[0]} is missing"
        )
    ids = IdMap.counted(len(classes), ignored=_IGNORED)
    return LabelledFiles(name, classes, list(items.values()), ids, background=background)
