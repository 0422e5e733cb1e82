"""COCO 2017 in miniature."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from data.miniature.common import SIZES, Labels, photos, save, save_all, some_labels, write

# The values of COCO-Stuff's pixels that are no class.
UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


def category_id(label: int) -> int:
    """Things from 1 on, with holes; stuff from 92 on."""
    return label + 1 + label // 10 if label < 80 else label + 12


def _annotations(base: Path, segments: dict[str, list[dict[str, int]]]) -> None:
    names = [f"thing {k}" for k in range(80)] + [f"stuff-{k}-other-merged" for k in range(53)]
    categories = [{"id": category_id(k), "name": name} for k, name in enumerate(names)]
    content = {
        "images": [{"id": 100 + k, "file_name": f"{name}.jpg"} for k, name in enumerate(SIZES)],
        "annotations": [
            {
                "image_id": 100 + k,
                "file_name": f"{name}.png",
                "segments_info": segments.get(name, []),
            }
            for k, name in enumerate(SIZES)
        ],
        "categories": categories[::-1],
    }
    write(base / "annotations/panoptic_val2017.json", json.dumps(content))


def panoptic(root: Path, dataset: str, base: str = "coco") -> Labels:
    """As downloaded: segment ids in colours, two segments of a class at times."""
    expected = some_labels(133)
    photos(root / base / "val2017")
    segments: dict[str, list[dict[str, int]]] = {}
    for name, values in expected.items():
        halves = np.arange(values.size).reshape(values.shape) % 2
        ids = np.where(values < 0, 0, 70_001 + 1000 * values + halves)
        colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        save(root / base / f"panoptic_val2017/{name}.png", colours)
        segments[name] = [
            {"id": int(k), "category_id": category_id((int(k) - 70_001) // 1000)}
            for k in np.unique(ids)
            if k
        ]
    _annotations(root / base, segments)
    return expected


def panoptic_at_the_root(root: Path, dataset: str) -> Labels:
    """The root is the folder of COCO itself."""
    return panoptic(root, dataset, ".")


def semseg(root: Path, dataset: str) -> Labels:
    """Mask2Former's semantic labels."""
    expected = some_labels(133)
    _annotations(root / "coco", {})
    photos(root / "coco/val2017")
    save_all(root / "coco/panoptic_semseg_val2017", expected, 255)
    return expected


def _stuff_raw(folder: Path) -> Labels:
    used = np.array([v for v in range(182) if v not in UNUSED])
    expected = some_labels(171)
    draw = np.random.default_rng(0)
    for name, values in expected.items():
        nothing = draw.choice([255, *UNUSED], values.shape)
        save(folder / f"{name}.png", np.where(values < 0, nothing, used[values]).astype(np.uint8))
    return expected


def stuff(root: Path, dataset: str) -> Labels:
    """As downloaded."""
    photos(root / "coco/val2017")
    return _stuff_raw(root / "coco/stuffthingmaps/val2017")


def stuff_cat_seg_raw(root: Path, dataset: str) -> Labels:
    """As downloaded, where CAT-Seg has it."""
    photos(root / "coco-stuff/images/val2017")
    return _stuff_raw(root / "coco-stuff/annotations/val2017")


def stuff_mmseg_raw(root: Path, dataset: str) -> Labels:
    """As downloaded, where mmseg has it, not converted."""
    photos(root / "coco_stuff164k/images/val2017")
    return _stuff_raw(root / "coco_stuff164k/annotations/val2017")


def stuff_detectron2(root: Path, dataset: str) -> Labels:
    """Classes, beside COCO."""
    expected = some_labels(171)
    photos(root / "coco/val2017")
    save_all(root / "coco/stuffthingmaps_detectron2/val2017", expected, 255)
    return expected


def stuff_cat_seg(root: Path, dataset: str) -> Labels:
    """Classes, where CAT-Seg has them."""
    expected = some_labels(171)
    photos(root / "coco-stuff/images/val2017")
    save_all(root / "coco-stuff/annotations_detectron2/val2017", expected, 255)
    return expected


def stuff_mmseg(root: Path, dataset: str, base: str = "coco_stuff164k") -> Labels:
    """mmseg's train ids, in one folder with the download."""
    photos(root / base / "images/val2017")
    folder = root / base / "annotations/val2017"
    expected = _stuff_raw(folder)
    save_all(folder, expected, 255, "_labelTrainIds.png")
    return expected


def stuff_mmseg_at_the_root(root: Path, dataset: str) -> Labels:
    """The root is mmseg's folder itself."""
    return stuff_mmseg(root, dataset, ".")
