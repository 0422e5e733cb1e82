"""PASCAL VOC 2012: 20 classes, 21 with the background, and CAT-Seg's 20b."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sparse_ovs.data.ids import IdMap
from sparse_ovs.data.labelled_files import Item, LabelledFiles
from sparse_ovs.data.names import VOC20, VOC_THEN_CONTEXT
from sparse_ovs.data.readers.trees import (
    LONG,
    Tree,
    bases,
    open_first,
    pair,
    pair_by_name,
    read_list,
)

BACKGROUND = "background"
_BORDER = 255

# 0 is the background in the download, VOC's classes are 1 to 20.
_RAW_OBJECTS = {value: value - 1 for value in range(1, 21)}
_RAW = {
    "voc20": IdMap(_RAW_OBJECTS, (0, _BORDER)),
    "voc21": IdMap.counted(21),
    "voc20b": IdMap({**_RAW_OBJECTS, 0: 20}, (_BORDER,)),
}


def open_voc(name: str, root: Path, split: str) -> LabelledFiles:
    """`voc20`: the background does not count; `voc21`: it is class 0; `voc20b`: it is class 20, and
    the vocabulary is Pascal Context's 59 names, of which those after VOC's 20 mean background.

    Raises:
        ValueError: the files are not there.
    """
    trees: list[Tree] = []
    made: Callable[..., LabelledFiles] = partial(_make, name)
    for base in bases(root, "VOCdevkit/VOC2012", "VOC2012"):
        listed = base / "ImageSets" / "Segmentation" / f"{split}.txt"
        labels = base / "SegmentationClass"
        trees.append(Tree("raw", (labels, listed), partial(made, _listed, _RAW[name], base, split)))
    prepared = root / "pascal_voc_d2"
    kind = "annotations_pascal20" if name == "voc20" else "annotations_pascal21"
    labels = prepared / kind / LONG[split]
    ids = IdMap.counted(20) if name == "voc20" else _RAW[name]
    images = prepared / "images" / LONG[split]
    trees.append(Tree("detectron2", (labels,), partial(made, pair_by_name, ids, labels, images)))
    if name != "voc21":
        kind = "annotations_detectron2" if name == "voc20" else "annotations_detectron2_bg"
        ids = IdMap.counted(20 if name == "voc20" else 21)
        for base in bases(root, "VOCdevkit/VOC2012", "VOC2012"):
            labels = base / kind / split
            own = base / "images_detectron2" / split
            images = own if own.is_dir() else base / "JPEGImages"
            trees.append(Tree("san", (labels,), partial(made, pair_by_name, ids, labels, images)))
    return open_first(name, root, trees)


def _listed(base: Path, split: str) -> list[Item]:
    stems = read_list(base / "ImageSets" / "Segmentation" / f"{split}.txt")
    return pair(stems, base / "SegmentationClass", base / "JPEGImages")


def _make(
    name: str, find: Callable[..., list[Item]], ids: IdMap, *where: Path | str
) -> LabelledFiles:
    items = find(*where)
    if name == "voc20":
        return LabelledFiles(name, VOC20, items, ids)
    if name == "voc21":
        return LabelledFiles(name, (BACKGROUND, *VOC20), items, ids, background=BACKGROUND)
    classes = (*VOC20, BACKGROUND)
    return LabelledFiles(
        name, classes, items, ids, background=BACKGROUND, vocabulary=VOC_THEN_CONTEXT
    )
