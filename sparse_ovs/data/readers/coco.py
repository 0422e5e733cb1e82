"""COCO 2017: the 133 classes of the panoptic task, and COCO-Stuff's 171."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparse_ovs.data.ids import IdMap
from sparse_ovs.data.images import read_colours
from sparse_ovs.data.labelled_files import Item, LabelledFiles
from sparse_ovs.data.names import COCO_STUFF_IDS, plain
from sparse_ovs.data.readers.trees import Tree, bases, open_first, pair_by_name


def open_coco133(name: str, root: Path, split: str) -> LabelledFiles:
    """The panoptic task's classes: those of the annotation file in the order of their ids, 80
    things and 53 kinds of stuff. Names become words: `wall-other-merged` is `wall`.

    Raises:
        ValueError: the files are not there.
    """
    trees = []
    for base in bases(root, "coco"):
        annotations = base / "annotations" / f"panoptic_{split}2017.json"
        images = base / f"{split}2017"
        labels = base / f"panoptic_{split}2017"
        trees.append(
            Tree(
                "raw",
                (labels, annotations),
                partial(_panoptic, name, annotations, labels, images),
            )
        )
        labels = base / f"panoptic_semseg_{split}2017"
        opened = partial(_semantic, name, annotations, labels, images)
        trees.append(Tree("detectron2", (labels, annotations), opened))
    return open_first(name, root, trees)


def _panoptic(name: str, annotations: Path, labels: Path, images: Path) -> LabelledFiles:
    content = _read_json(annotations)
    categories = _categories(content)
    files = {image["id"]: image["file_name"] for image in content["images"]}
    items = []
    segments: dict[str, dict[int, int]] = {}
    for entry in content["annotations"]:
        file = files[entry["image_id"]]
        item = Item(Path(file).stem, images / file, labels / entry["file_name"])
        items.append(item)
        segments[item.name] = {s["id"]: s["category_id"] for s in entry["segments_info"]}
    ids = IdMap({raw: k for k, raw in enumerate(categories)}, (0,))
    read = partial(read_segment_categories, segments)
    return LabelledFiles(name, list(categories.values()), items, ids, read=read)


def _semantic(name: str, annotations: Path, labels: Path, images: Path) -> LabelledFiles:
    categories = _categories(_read_json(annotations))
    ids = IdMap.counted(len(categories))
    items = pair_by_name(labels, images)
    return LabelledFiles(name, list(categories.values()), items, ids)


def read_segment_categories(segments: Mapping[str, Mapping[int, int]], item: Item) -> np.ndarray:
    """Category ids (H, W) of a panoptic PNG.

    Its colours hold segment ids, R + 256 G + 65536 B. Segments that `segments[item.name]` does not
    list keep their id, negative; 0 stays 0.
    """
    colours = read_colours(item.labels).astype(np.int32)
    ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    found, places = np.unique(ids, return_inverse=True)
    listed = segments[item.name]
    categories = np.array([listed.get(int(raw), -int(raw)) for raw in found], np.int32)
    return categories[places.reshape(ids.shape)]


def open_stuff171(name: str, root: Path, split: str) -> LabelledFiles:
    """COCO-Stuff: things and stuff; pixel values are ids minus one.

    Raises:
        ValueError: the files are not there.
    """
    raw = IdMap({v: k for k, v in enumerate(COCO_STUFF_IDS)}, {*range(182), 255})
    counted = IdMap.counted(171)
    year = f"{split}2017"
    trees = []
    for own, style, folder, images, ids, end in (
        # First, for these lie in one folder with the download.
        ("coco_stuff164k", "mmseg", "annotations", "images", counted, "_labelTrainIds.png"),
        ("coco", "raw", "stuffthingmaps", "", raw, ".png"),
        ("coco-stuff", "raw", "annotations", "images", raw, ".png"),
        ("coco", "detectron2", "stuffthingmaps_detectron2", "", counted, ".png"),
        ("coco-stuff", "detectron2", "annotations_detectron2", "images", counted, ".png"),
        ("coco_stuff164k", "raw", "annotations", "images", raw, ".png"),
    ):
        for base in (root / own, root):
            labels = base / folder / year
            opened = partial(_stuff, name, labels, base / images / year, ids, end)
            # One file stands for all.
            some = next(labels.glob(f"*{end}"), labels / f"*{end}")
            trees.append(Tree(style, (some,), opened))
    return open_first(name, root, trees)


def _stuff(name: str, labels: Path, images: Path, ids: IdMap, end: str) -> LabelledFiles:
    items = pair_by_name(labels, images, end)
    return LabelledFiles(name, list(COCO_STUFF_IDS.values()), items, ids)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        return {key: content[key] for key in ("images", "annotations", "categories")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected a JSON file with images, annotations and categories, got {path}: {error!r}"
        ) from error


def _categories(content: dict[str, Any]) -> dict[int, str]:
    """Category id -> name, in the order of the ids."""
    return {
        category["id"]: plain(category["name"])
        for category in sorted(content["categories"], key=lambda category: category["id"])
    }
