"""The datasets by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_ovs.data.dataset import SegmentationDataset
from sparse_ovs.data.emoji import EmojiScenes
from sparse_ovs.data.labelled_files import LabelledFiles
from sparse_ovs.data.name_files import read_name_list
from sparse_ovs.data.readers.ade import open_ade150, open_ade847
from sparse_ovs.data.readers.cityscapes import open_cityscapes
from sparse_ovs.data.readers.coco import open_coco133, open_stuff171
from sparse_ovs.data.readers.folder import open_folder
from sparse_ovs.data.readers.pascal_context import open_context, open_context459
from sparse_ovs.data.readers.voc import open_voc
from sparse_ovs.data.scenes import Scenes


@dataclass(frozen=True)
class Known:
    """One dataset.

    Attributes:
        title: what it is called in papers.
        images: in the whole val split; None where that is up to the user.
        open: name, root, split, further options -> the dataset; None for what is made, which needs
            no root.
        options: that `open_dataset` takes for it.
    """

    title: str
    images: int | None
    open: Callable[..., LabelledFiles] | None
    options: tuple[str, ...] = ()


DATASETS: Mapping[str, Known] = {
    "coco133": Known("COCO panoptic 133", 5000, open_coco133),
    "stuff171": Known("COCO-Stuff 171", 5000, open_stuff171),
    "ade150": Known("ADE20K-150", 2000, open_ade150),
    "ade847": Known("ADE20K-847", 2000, open_ade847, ("table", "short_side")),
    "voc20": Known("PASCAL VOC-20", 1449, open_voc),
    "voc21": Known("PASCAL VOC-21", 1449, open_voc),
    "voc20b": Known("PASCAL VOC-20b", 1449, open_voc),
    "pc59": Known("Pascal Context 59", 5104, open_context),
    "pc60": Known("Pascal Context 60", 5104, open_context),
    "pc459": Known("Pascal Context 459", 5104, open_context459),
    "cityscapes19": Known("Cityscapes 19", 500, open_cityscapes),
    "folder": Known("a folder of images, labels and names.txt", None, open_folder, ("background",)),
    "scenes": Known("procedural scenes", None, None, ("size", "count", "seed")),
    "emoji": Known("scenes of emoji", None, None, ("size", "count", "seed")),
}
"""What `open_dataset` knows."""


def open_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    split: str = "val",
    *,
    names: str | os.PathLike[str] | None = None,
    **options: Any,
) -> SegmentationDataset:
    """A dataset, from the raw download or from a tree that was prepared for another library.

    Args:
        name: one of DATASETS.
        root: the folder that holds the datasets, or the dataset's own; by default
            `$DETECTRON2_DATASETS`, else `./datasets`. Not needed for scenes and emoji.
        split: "val" or "train"; of scenes "train", "val-seen" (also "val") or "val-unseen"; of
            emoji see `EmojiScenes`.
        names: a file with other names for the same classes, one class a line, synonyms apart by
            ", ", instead of the dataset's own.
        options: `table`, `short_side` (ade847); `background` (folder); `size`, `count`, `seed`
            (scenes, emoji).

    Raises:
        MissingPackages: of emoji, which `sparse-ovs data fetch emoji` brings.
        ValueError: no such name, root or split, or files are missing: says which, and where.
        TypeError: options that the dataset does not take.
    """
    if name not in DATASETS:
        raise ValueError(f"expected a dataset of {', '.join(DATASETS)}, got {name!r}")
    known = DATASETS[name]
    others = [option for option in options if option not in known.options]
    if others:
        taken = f"options of {', '.join(known.options)}" if known.options else "no options"
        raise TypeError(f"expected {taken} for {name}, got {others[0]!r}")
    if known.open is None:
        if names is not None:
            raise ValueError(f"expected {name} without other names, got names")
        if name == "emoji":
            return EmojiScenes(split, **options)
        return Scenes("val-seen" if split == "val" else split, **options)
    if split not in ("train", "val"):
        raise ValueError(f"expected split train or val, got {split!r}")
    folder = Path(root or os.environ.get("DETECTRON2_DATASETS") or "datasets")
    if not folder.is_dir():
        raise ValueError(f"expected a folder of datasets, got {folder}, which is none")
    dataset = known.open(name, folder, split, **options)
    if names is not None:
        dataset.rename(read_name_list(Path(names), len(dataset.vocabulary)))
    return dataset
