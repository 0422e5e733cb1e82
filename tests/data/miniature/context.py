"""Pascal Context in miniature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.miniature.common import SIZES, Labels, listed, photos, save_all, some_labels, write
from data.miniature.runs import encode

BASE = "VOCdevkit/VOC2010"
IDS = sorted([
    2, 259, 260, 415, 324, 9, 258, 144, 18, 19, 22, 23, 397, 25, 284, 158, 159, 416, 33, 162, 420,
    454, 295, 296, 427, 44, 45, 46, 308, 59, 440, 445, 31, 232, 65, 354, 424, 68, 326, 72, 458, 34,
    207, 80, 355, 85, 347, 220, 349, 360, 98, 187, 104, 105, 366, 189, 368, 113, 115,
])  # fmt: skip
"""The 59 ids of the annotation file."""

# As `59_labels.txt` spells them, but for three; in the order of the ids.
NAMES = [
    "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle",
    "building", "bus", "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow",
    "cup", "curtain", "dog", "door", "fence", "floor", "flower", "food", "grass", "ground",
    "horse", "keyboard", "light", "motorbike", "mountain", "mouse", "person", "plate", "platform",
    "pottedplant", "road", "rock", "sheep", "shelves", "sidewalk", "sign", "sky", "snow", "sofa",
    "table", "track", "train", "tree", "truck", "tvmonitor", "wall", "water", "window", "wood",
]  # fmt: skip


def _drawn(dataset: str) -> tuple[Labels, Labels]:
    """0..58 and -1 for the background, and what a reader of `dataset` makes of it."""
    drawn = some_labels(59)
    add = 1 if dataset == "pc60" else 0
    return drawn, {name: (values + add).astype(np.int32) for name, values in drawn.items()}


def raw(root: Path, dataset: str) -> Labels:
    """As downloaded: run-length codes, a region that a later one hides, a training image."""
    drawn, expected = _drawn(dataset)
    photos(root / BASE / "JPEGImages")
    annotations: list[dict[str, Any]] = []
    for number, (name, values) in enumerate(drawn.items()):
        size = list(SIZES[name])
        whole = {"size": size, "counts": encode(values >= 0)}
        annotations.append({"image_id": number, "category_id": 2, "segmentation": whole})
        for label in np.unique(values[values >= 0]):
            region = {"size": size, "counts": encode(values == label)}
            entry = {"image_id": number, "category_id": IDS[label], "segmentation": region}
            annotations.append(entry)
    _merged(root / BASE, annotations)
    return expected


def _merged(base: Path, annotations: list[dict[str, Any]]) -> None:
    images = [
        {"image_id": k, "file_name": f"{name}.jpg", "height": h, "width": w, "phase": "val"}
        for k, (name, (h, w)) in enumerate(SIZES.items())
    ]
    images.append({**images[0], "image_id": 99, "file_name": "other.jpg", "phase": "train"})
    content = {"images": images, "annos_segmentation": annotations}
    write(base / "trainval_merged.json", json.dumps(content))


def mmseg(root: Path, dataset: str) -> Labels:
    """mmseg's PNGs, the background is 0."""
    drawn, expected = _drawn(dataset)
    photos(root / BASE / "JPEGImages")
    listed(root / BASE / "ImageSets/SegmentationContext/val.txt")
    save_all(root / BASE / "SegmentationClassContext", drawn, 0, add=1)
    return expected


def detectron2(root: Path, dataset: str) -> Labels:
    """fc-clip's tree."""
    drawn, expected = _drawn(dataset)
    photos(root / "pascal_ctx_d2/images/validation")
    save_all(root / "pascal_ctx_d2/annotations_ctx59/validation", drawn, 255)
    return expected


def san(root: Path, dataset: str) -> Labels:
    """SAN's tree."""
    drawn, expected = _drawn(dataset)
    photos(root / "pcontext/val/image")
    save_all(root / "pcontext/val/label", drawn, 255)
    return expected


def cat_seg(root: Path, dataset: str) -> Labels:
    """CAT-Seg's tree: ids in the order of `59_labels.txt`, whose spellings differ."""
    drawn, expected = _drawn(dataset)
    photos(root / BASE / "JPEGImages")
    order = NAMES[::-1]
    spellings = {"table": "diningtable", "bedclothes": "bedcloth", "cloth": "clothes"}
    lines = [f"{k}: {spellings.get(name, name)}\n" for k, name in enumerate(order, 1)]
    write(root / BASE / "59_labels.txt", "".join(lines))
    places = np.array([order.index(name) for name in NAMES])
    ids = {name: np.where(v < 0, -1, places[v]) for name, v in drawn.items()}
    save_all(root / BASE / "annotations_detectron2/pc59_val", ids, 255)
    return expected


def _names459(path: Path) -> None:
    write(path, "".join(f"{k}: name {k}\n" for k in range(1, 460)))


def raw459(root: Path, dataset: str) -> Labels:
    """As downloaded: MATLAB files, 0 is nothing."""
    from scipy.io import savemat

    expected = some_labels(459)
    photos(root / BASE / "JPEGImages")
    _names459(root / BASE / "labels.txt")
    _merged(root / BASE, [])
    (root / BASE / "trainval").mkdir(parents=True)
    for name, values in expected.items():
        savemat(root / BASE / f"trainval/{name}.mat", {"LabelMap": (values + 1).astype(np.uint16)})
    return expected


def detectron2_459(root: Path, dataset: str) -> Labels:
    """fc-clip's tree: TIFF of 16 bits."""
    expected = some_labels(459)
    photos(root / "pascal_ctx_d2/images/validation")
    _names459(root / BASE / "labels.txt")
    save_all(root / "pascal_ctx_d2/annotations_ctx459/validation", expected, 65535, ".tif")
    return expected


def cat_seg_459(root: Path, dataset: str) -> Labels:
    """CAT-Seg's tree."""
    expected = some_labels(459)
    photos(root / BASE / "JPEGImages")
    _names459(root / BASE / "labels.txt")
    save_all(root / BASE / "annotations_detectron2/pc459_val", expected, 65535, ".tif")
    return expected


def san_459(root: Path, dataset: str) -> Labels:
    """SAN's tree."""
    expected = some_labels(459)
    photos(root / "pcontext_full/val/image")
    _names459(root / "pcontext_full/labels.txt")
    save_all(root / "pcontext_full/val/label", expected, 65535, ".tif")
    return expected
