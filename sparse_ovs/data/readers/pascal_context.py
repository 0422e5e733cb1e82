"""Pascal Context: 59 classes, 60 with the background, and all 459."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparse_ovs.data.ids import IdMap
from sparse_ovs.data.labelled_files import Item, LabelledFiles, read_item_ids
from sparse_ovs.data.mat_files import read_mat
from sparse_ovs.data.name_files import read_numbered_names
from sparse_ovs.data.names import PC59, PC59_IDS
from sparse_ovs.data.readers.trees import (
    LONG,
    Tree,
    bases,
    first_file,
    open_first,
    pair,
    pair_by_name,
    read_list,
)
from sparse_ovs.data.rle import decode_rle

_MERGED = "trainval_merged.json"
_NONE = 255
_WIDE_IGNORE = 65535
_BASES = ("VOCdevkit/VOC2010", "VOC2010")
# Spellings of `59_labels.txt` that differ from the annotation file's.
_SPELLINGS = {
    "diningtable": "table",
    "bedcloth": "bedclothes",
    "clothes": "cloth",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
}


def open_context(name: str, root: Path, split: str) -> LabelledFiles:
    """`pc59`: the background does not count; `pc60`: it is class 0.

    Classes are in the order of their ids in the annotation file, which is alphabetical, whatever
    order a prepared tree has.

    Raises:
        ValueError: the files are not there.
    """
    trees = []
    made = partial(_make59, name)
    for base in bases(root, *_BASES):
        merged = base / _MERGED
        raw = partial(_raw59, name, merged, base / "JPEGImages", split)
        trees.append(Tree("raw", (merged,), raw))
    for base in bases(root, *_BASES):
        labels = base / "SegmentationClassContext"
        listed = base / "ImageSets" / "SegmentationContext" / f"{split}.txt"
        images = base / "JPEGImages"
        opened = partial(made, partial(_listed, listed, labels, images), range(1, 60), 0)
        trees.append(Tree("mmseg", (labels, listed), opened))
    for style, labels, images in (
        (
            "detectron2",
            root / "pascal_ctx_d2" / "annotations_ctx59" / LONG[split],
            root / "pascal_ctx_d2" / "images" / LONG[split],
        ),
        ("san", root / "pcontext" / split / "label", root / "pcontext" / split / "image"),
    ):
        opened = partial(made, partial(pair_by_name, labels, images), range(59), _NONE)
        trees.append(Tree(style, (labels,), opened))
    for base in bases(root, *_BASES):
        labels = base / "annotations_detectron2" / f"pc59_{split}"
        order = base / "59_labels.txt"
        opened = partial(_ordered59, name, labels, base / "JPEGImages", order)
        trees.append(Tree("cat-seg", (labels, order), opened))
    return open_first(name, root, trees)


def _make59(
    name: str,
    find: Callable[[], list[Item]],
    raw: Sequence[int],
    none: int,
    read: Callable[[Item], np.ndarray] = read_item_ids,
) -> LabelledFiles:
    """`raw`: the ids of PC59's classes; `none`: the id of pixels that are of none of them."""
    if name == "pc59":
        ids = IdMap({r: k for k, r in enumerate(raw)}, (none, _NONE))
        return LabelledFiles(name, PC59, find(), ids, read=read)
    ids = IdMap({none: 0, **{r: k for k, r in enumerate(raw, 1)}}, (_NONE,))
    classes = ("background", *PC59)
    return LabelledFiles(name, classes, find(), ids, read=read, background="background")


def _raw59(name: str, merged: Path, images: Path, split: str) -> LabelledFiles:
    content = _read_merged(merged)
    found = {
        image["image_id"]: Item(Path(image["file_name"]).stem, images / image["file_name"], merged)
        for image in content["images"]
        if image["phase"] == split
    }
    sizes = {
        found[image["image_id"]].name: (image["height"], image["width"])
        for image in content["images"]
        if image["image_id"] in found
    }
    regions: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for entry in content["annos_segmentation"]:
        item = found.get(entry["image_id"])
        if item is not None:
            regions[item.name].append((entry["category_id"], entry["segmentation"]))
    read = partial(paint_regions, sizes, dict(regions))
    return _make59(name, lambda: list(found.values()), list(PC59_IDS), 0, read)


def paint_regions(
    sizes: Mapping[str, tuple[int, int]],
    regions: Mapping[str, Sequence[tuple[int, Any]]],
    item: Item,
) -> np.ndarray:
    """Category ids (H, W), 0 where there is none; later regions lie over earlier ones.

    Raises:
        ValueError: a region is no run-length code, or of another size than the image.
    """
    height, width = sizes[item.name]
    ids = np.zeros((height, width), np.int32)
    for category, region in regions.get(item.name, ()):
        if not isinstance(region, dict) or list(region.get("size", ())) != [height, width]:
            raise ValueError(
                f"expected run-length codes of {height}x{width} pixels for {item.name} in "
                f"{item.labels}, got {str(region)[:60]}"
            )
        ids[decode_rle(region["size"], region["counts"])] = category
    return ids


def _ordered59(name: str, labels: Path, images: Path, order: Path) -> LabelledFiles:
    """CAT-Seg's tree: ids follow the lines of `59_labels.txt`."""
    listed = [_spelled(word) for word in read_numbered_names(order, 59).values()]
    unknown = sorted(set(listed) - set(PC59))
    if unknown:
        raise ValueError(f"expected the names of Pascal Context's 59 in {order}, got {unknown[0]}")
    raw = [listed.index(word) for word in PC59]
    return _make59(name, partial(pair_by_name, labels, images), raw, _NONE)


def _spelled(word: str) -> str:
    return _SPELLINGS.get(word, word)


def open_context459(name: str, root: Path, split: str) -> LabelledFiles:
    """All 459 classes, named by `labels.txt` ("id: name").

    Raises:
        ValueError: the files are not there.
    """
    own = bases(root, *_BASES)
    lists = [base / "labels.txt" for base in (*own, root / "pascal_ctx_d2", root / "pcontext_full")]
    made = partial(_make459, name, lists)
    trees = []
    for style, labels, images in (
        (
            "detectron2",
            root / "pascal_ctx_d2" / "annotations_ctx459" / LONG[split],
            root / "pascal_ctx_d2" / "images" / LONG[split],
        ),
        *(
            ("cat-seg", base / "annotations_detectron2" / f"pc459_{split}", base / "JPEGImages")
            for base in own
        ),
        ("san", root / "pcontext_full" / split / "label", root / "pcontext_full" / split / "image"),
    ):
        find = partial(pair_by_name, labels, images, ".tif")
        opened = partial(made, find, range(459), (_WIDE_IGNORE,), read_item_ids)
        trees.append(Tree(style, (labels,), opened))
    # Last, for `.mat` files are slow to read.
    for base in own:
        labels = base / "trainval"
        find = partial(_split459, base, labels, split)
        trees.append(
            Tree("raw", (labels,), partial(made, find, range(1, 460), (0,), _read_label_map))
        )
    return open_first(name, root, trees)


def _make459(
    name: str,
    lists: Sequence[Path],
    find: Callable[[], list[Item]],
    raw: Sequence[int],
    ignored: tuple[int, ...],
    read: Callable[[Item], np.ndarray],
) -> LabelledFiles:
    listed = first_file(lists, "the names of Pascal Context's 459 classes")
    names = read_numbered_names(listed, 459)
    ids = IdMap({r: k for k, r in enumerate(raw)}, ignored)
    return LabelledFiles(name, [names[k] for k in sorted(names)], find(), ids, read=read)


def _split459(base: Path, labels: Path, split: str) -> list[Item]:
    """The images of a split, from whichever list of them is there."""
    lists = [
        base / f"pascalcontext_{split}.txt",
        base / "ImageSets" / "SegmentationContext" / f"{split}.txt",
        base / _MERGED,
    ]
    listed = first_file(lists, f"a list of Pascal Context's {split} images")
    if listed.name == _MERGED:
        images = _read_merged(listed)["images"]
        stems = [Path(image["file_name"]).stem for image in images if image["phase"] == split]
    else:
        stems = read_list(listed)
    return pair(stems, labels, base / "JPEGImages", ".mat")


def _read_label_map(item: Item) -> np.ndarray:
    return read_mat(item.labels, "LabelMap").astype(np.int32)


def _listed(listed: Path, labels: Path, images: Path) -> list[Item]:
    return pair(read_list(listed), labels, images)


def _read_merged(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        return {key: content[key] for key in ("images", "annos_segmentation")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected a JSON file with images and annos_segmentation, got {path}: {error!r}"
        ) from error
