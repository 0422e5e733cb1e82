"""Cityscapes: 19 classes, from the download's label ids or from train ids."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sparse_ovs.data.ids import IdMap
from sparse_ovs.data.labelled_files import Item, LabelledFiles
from sparse_ovs.data.names import CITYSCAPES_IDS
from sparse_ovs.data.readers.trees import Tree, bases, open_first

_RAW = IdMap({raw: k for k, raw in enumerate(CITYSCAPES_IDS)}, {*range(34), 255})


def open_cityscapes(name: str, root: Path, split: str) -> LabelledFiles:
    """`*_labelIds.png` as downloaded, else `*_labelTrainIds.png`.

    Raises:
        ValueError: the files are not there.
    """
    trees = []
    for base in bases(root, "cityscapes"):
        labels = base / "gtFine" / split
        images = base / "leftImg8bit" / split
        for style, ids, kind in (
            ("raw", _RAW, "labelIds"),
            ("detectron2", IdMap.counted(19), "labelTrainIds"),
        ):
            end = f"_gtFine_{kind}.png"
            # One file stands for all.
            some = next(labels.glob(f"*/*{end}"), labels / "*" / f"*{end}")
            opened = partial(_open, name, labels, images, end, ids)
            trees.append(Tree(style, (some,), opened))
    return open_first(name, root, trees)


def _open(name: str, labels: Path, images: Path, end: str, ids: IdMap) -> LabelledFiles:
    items = []
    for path in sorted(labels.glob(f"*/*{end}")):
        stem = path.name.removesuffix(end)
        items.append(Item(stem, images / path.parent.name / f"{stem}_leftImg8bit.png", path))
    return LabelledFiles(name, list(CITYSCAPES_IDS.values()), items, ids)
