"""PASCAL VOC 2012 in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.miniature.common import Labels, listed, photos, save_all, save_palette, some_labels


def raw(root: Path, dataset: str, base: str = "VOCdevkit/VOC2012") -> Labels:
    """As downloaded: palettes, 0 is the background, 255 the border."""
    drawn = some_labels(21)
    photos(root / base / "JPEGImages")
    listed(root / base / "ImageSets/Segmentation/val.txt")
    for name, values in drawn.items():
        ids = np.where(values < 0, 255, values)
        save_palette(root / base / "SegmentationClass" / f"{name}.png", ids)
    return {name: _expected(dataset, values) for name, values in drawn.items()}


def at_the_root(root: Path, dataset: str) -> Labels:
    """The root is VOC2012 itself."""
    return raw(root, dataset, ".")


def detectron2(root: Path, dataset: str) -> Labels:
    """fc-clip's tree."""
    photos(root / "pascal_voc_d2/images/validation")
    drawn = some_labels(21)
    if dataset == "voc20":
        expected = {name: _expected("voc20", values) for name, values in drawn.items()}
        save_all(root / "pascal_voc_d2/annotations_pascal20/validation", expected, 255)
        return expected
    save_all(root / "pascal_voc_d2/annotations_pascal21/validation", drawn, 255)
    return {name: _expected(dataset, values) for name, values in drawn.items()}


def san(root: Path, dataset: str) -> Labels:
    """SAN's and CAT-Seg's tree; `_bg` has the background as 20."""
    photos(root / "VOCdevkit/VOC2012/JPEGImages")
    expected = some_labels(20 if dataset == "voc20" else 21)
    kind = "annotations_detectron2" if dataset == "voc20" else "annotations_detectron2_bg"
    save_all(root / "VOCdevkit/VOC2012" / kind / "val", expected, 255)
    return expected


def san_copied_images(root: Path, dataset: str) -> Labels:
    """SAN's tree with images of its own."""
    photos(root / "VOC2012/images_detectron2/val")
    expected = some_labels(20)
    save_all(root / "VOC2012/annotations_detectron2/val", expected, 255)
    return expected


def _expected(dataset: str, values: np.ndarray) -> np.ndarray:
    """`values`: 0 background, 1..20 objects, -1 border."""
    background = {"voc20": -1, "voc21": 0, "voc20b": 20}[dataset]
    objects = values if dataset == "voc21" else values - 1
    return np.select([values < 0, values == 0], [-1, background], objects).astype(np.int32)
