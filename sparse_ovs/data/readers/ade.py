"""ADE20K: the 150 classes of the scene parsing challenge, and the 847 of the full set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from sparse_ovs.data.ids import IdMap
from sparse_ovs.data.images import read_colours
from sparse_ovs.data.labelled_files import Item, LabelledFiles
from sparse_ovs.data.name_files import read_id_table, read_object_info
from sparse_ovs.data.readers.trees import LONG, Tree, bases, open_first, pair_by_name
from sparse_ovs.formats.pickles import load_plain_pickle

_WIDE_IGNORE = 65535
_FULL = "ADE20K_2021_17_01"


def open_ade150(name: str, root: Path, split: str) -> LabelledFiles:
    """The challenge's 150 classes; the names are those of its `objectInfo150.txt`.

    Raises:
        ValueError: the files are not there.
    """
    trees = []
    for base in bases(root, "ADEChallengeData2016", "ade/ADEChallengeData2016"):
        info = base / "objectInfo150.txt"
        images = base / "images" / LONG[split]
        for style, folder, ids in (
            ("raw", "annotations", IdMap.counted(150, first=1, ignored=(0,))),
            ("detectron2", "annotations_detectron2", IdMap.counted(150)),
        ):
            labels = base / folder / LONG[split]
            opened = partial(_ade150, name, info, labels, images, ids)
            trees.append(Tree(style, (labels, info), opened))
    return open_first(name, root, trees)


def _ade150(name: str, info: Path, labels: Path, images: Path, ids: IdMap) -> LabelledFiles:
    return LabelledFiles(name, read_object_info(info), pair_by_name(labels, images), ids)


def open_ade847(
    name: str, root: Path, split: str, table: Path | None = None, short_side: int | None = 512
) -> LabelledFiles:
    """The full set's 847 classes.

    Which 847 of its objects, and in which order, is not in the download: `table` (by default
    `classes847.txt` in the dataset's folder) lists them, see `read_id_table`. Ids count the
    objects of `index_ade20k.pkl` from 1.

    Args:
        short_side: as in the reference (MaskFormer), samples are made smaller until their shorter
            side is 512, and scored at that size; None leaves them as they are.

    Raises:
        ValueError: the files, or names for the classes, are not there.
    """
    trees = []
    for base in bases(root, _FULL, f"ade/{_FULL}"):
        rows = Path(table) if table is not None else base / "classes847.txt"
        index = base / "index_ade20k.pkl"
        raw = partial(_raw847, name, base, split, rows, short_side)
        trees.append(Tree("raw", (index, base / "images" / "ADE", rows), raw))
        labels = base / "annotations_detectron2" / LONG[split]
        images = base / "images_detectron2" / LONG[split]
        prepared = partial(_prepared847, name, labels, images, rows, index, short_side)
        trees.append(Tree("detectron2", (labels, rows), prepared))
    return open_first(name, root, trees)


def _raw847(
    name: str, base: Path, split: str, table: Path, short_side: int | None
) -> LabelledFiles:
    index = load_plain_pickle(base / "index_ade20k.pkl")
    objects = list(index["objectnames"])
    rows = read_id_table(table, 847)
    items = []
    for folder, file in zip(index["folder"], index["filename"], strict=True):
        # Folders begin with the name of the dataset's own folder.
        inside = str(folder).replace("\\", "/").removeprefix(f"{_FULL}/")
        if f"/{LONG[split]}/" in f"/{inside}/":
            stem = Path(file).stem
            items.append(Item(stem, base / inside / file, base / inside / f"{stem}_seg.png"))
    classes = {raw: k for k, (raw, _) in enumerate(rows)}
    ids = IdMap(classes, range(len(objects) + 1))
    names = _names(rows, objects, table)
    return LabelledFiles(name, names, items, ids, read=_object_ids, short_side=short_side)


def _prepared847(
    name: str, labels: Path, images: Path, table: Path, index: Path, short_side: int | None
) -> LabelledFiles:
    rows = read_id_table(table, 847)
    named = all(word for _, word in rows)
    objects = [] if named else list(load_plain_pickle(index)["objectnames"])
    items = pair_by_name(labels, images, ".tif")
    ids = IdMap.counted(847, ignored=(_WIDE_IGNORE,))
    names = _names(rows, objects, table)
    return LabelledFiles(name, names, items, ids, short_side=short_side)


def _names(rows: list[tuple[int, str | None]], objects: list[str], table: Path) -> list[str]:
    beyond = [raw for raw, word in rows if not word and not 1 <= raw <= len(objects)]
    if beyond:
        raise ValueError(
            f"expected ids 1 to {len(objects)} (objects of the index) in {table}, got {beyond[0]}"
        )
    return [word or str(objects[raw - 1]) for raw, word in rows]


def _object_ids(item: Item) -> np.ndarray:
    """R holds 10 times the upper part of the object's id, G the lower 8 bits."""
    colours = read_colours(item.labels).astype(np.int32)
    return colours[..., 0] // 10 * 256 + colours[..., 1]
