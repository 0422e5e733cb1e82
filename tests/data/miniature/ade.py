"""ADE20K in miniature."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np

from data.miniature.common import SIZES, Labels, photos, save, save_all, some_labels, write

OBJECTS = 900


def _info(base: Path) -> None:
    rows = ["Idx   \tRatio    \tTrain   \tVal     \tStuff\tName                "]
    rows += [f"{k:<6}\t0.1\t9\t1\t0\tthing {k}, object {k}  " for k in range(1, 151)]
    write(base / "objectInfo150.txt", "\n".join(rows) + "\n")


def raw150(root: Path, dataset: str, base: str = "ADEChallengeData2016") -> Labels:
    """As downloaded: 0 is nothing."""
    expected = some_labels(150)
    _info(root / base)
    photos(root / base / "images/validation")
    save_all(root / base / "annotations/validation", expected, 0, add=1)
    return expected


def mmseg150(root: Path, dataset: str) -> Labels:
    """As downloaded, where mmseg has it."""
    return raw150(root, dataset, "ade/ADEChallengeData2016")


def detectron2_150(root: Path, dataset: str) -> Labels:
    """Labels less one."""
    expected = some_labels(150)
    base = root / "ADEChallengeData2016"
    _info(base)
    photos(base / "images/validation")
    save_all(base / "annotations_detectron2/validation", expected, 255)
    return expected


def object_id(label: int) -> int:
    """Which object a class is: neither in order nor all of them."""
    return 850 - label


def table(path: Path, style: str = "text") -> None:
    """The list of the 847 classes."""
    rows = range(847)
    if style == "text":
        write(path, "".join(f"{object_id(k)}\n" for k in rows))
    elif style == "named":
        write(path, "".join(f"{object_id(k)}: class {k}\n" for k in rows))
    else:
        entries = [{"name": f"class {k}", "id": object_id(k), "trainId": k} for k in rows]
        write(path, json.dumps(entries[::-1]))


def index(base: Path) -> None:
    """`index_ade20k.pkl`, with an image of the training split too."""
    base.mkdir(parents=True, exist_ok=True)
    inside = "ADE20K_2021_17_01/images/ADE/validation/urban/street"
    content = {
        "filename": [*(f"{name}.jpg" for name in SIZES), "other.jpg"],
        "folder": [*(inside for _ in SIZES), inside.replace("validation", "training")],
        "objectnames": [f"object {k}" for k in range(1, OBJECTS + 1)],
        "objectPresence": np.zeros((OBJECTS, 3)),
    }
    (base / "index_ade20k.pkl").write_bytes(pickle.dumps(content, protocol=4))


def raw847(root: Path, dataset: str) -> Labels:
    """As downloaded: ids in the colours of `*_seg.png`; 3 is an object that is no class."""
    expected = some_labels(847)
    base = root / "ADE20K_2021_17_01"
    index(base)
    table(base / "classes847.txt")
    photos(base / "images/ADE/validation/urban/street")
    for name, values in expected.items():
        ids = np.where(values < 0, 3, object_id(values))
        instance = np.arange(ids.size).reshape(ids.shape) % 256
        colours = np.stack([ids // 256 * 10, ids % 256, instance], -1).astype(np.uint8)
        save(base / f"images/ADE/validation/urban/street/{name}_seg.png", colours)
    return expected


def detectron2_847(root: Path, dataset: str) -> Labels:
    """MaskFormer's tree: TIFF of 16 bits."""
    expected = some_labels(847)
    base = root / "ADE20K_2021_17_01"
    table(base / "classes847.txt", "json")
    photos(base / "images_detectron2/validation")
    save_all(base / "annotations_detectron2/validation", expected, 65535, ".tif")
    return expected
