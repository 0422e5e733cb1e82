"""Cityscapes in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.miniature.common import Labels, photos, save, save_all, some_labels

IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def raw(root: Path, dataset: str, base: str = "cityscapes") -> Labels:
    """As downloaded: label ids, others among them."""
    expected = some_labels(19)
    photos(root / base / "leftImg8bit/val/ulm", "_leftImg8bit.png")
    others = [k for k in range(34) if k not in IDS]
    draw = np.random.default_rng(0)
    for name, values in expected.items():
        nothing = draw.choice(others, values.shape)
        ids = np.where(values < 0, nothing, np.array(IDS)[values]).astype(np.uint8)
        save(root / base / f"gtFine/val/ulm/{name}_gtFine_labelIds.png", ids)
    return expected


def at_the_root(root: Path, dataset: str) -> Labels:
    """The root is the folder of Cityscapes itself."""
    return raw(root, dataset, ".")


def train_ids(root: Path, dataset: str) -> Labels:
    """Only what Cityscapes' scripts make."""
    expected = some_labels(19)
    photos(root / "cityscapes/leftImg8bit/val/ulm", "_leftImg8bit.png")
    save_all(root / "cityscapes/gtFine/val/ulm", expected, 255, "_gtFine_labelTrainIds.png")
    return expected
