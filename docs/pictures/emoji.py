"""Draws the pictures of emoji: `python docs/pictures/emoji.py scenes` writes images/emoji.jpg, and
`python docs/pictures/emoji.py masks DENSE` images/emoji-masks.jpg, where DENSE is a segmenter of
the recipe emoji-maskformer on the dense CLIP (needs the extras plot and emoji, and emoji that were
fetched)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sparse_ovs import Segmenter
from sparse_ovs.data.emoji import EmojiScenes
from sparse_ovs.segmenter.shipped import DEMO, demo_scenes

FOLDER = Path(__file__).parents[1] / "images"
SHOWN = (2, 1, 6, 9, 12, 15)  # of the demo's scenes


def draw_scenes() -> Figure:
    """Eight scenes by the hands of training, and eight by the one held out; none of those whose
    licence asks to share alike."""
    figure = Figure(figsize=(12, 3.1), layout="constrained")
    for row, split in zip(figure.subplots(2, 8), ("train", "val"), strict=True):
        scenes = EmojiScenes(split, count=8, seed=3)
        for axis, sample in zip(row, scenes, strict=True):
            axis.imshow(sample.image)
            axis.axis("off")
    return figure


def draw_masks(dense: Path) -> Figure:
    """A column for each scene: what was shown, then the classes found by the dense segmenter, by
    the pruned one, and by that in int8."""
    pruned = Segmenter.from_pretrained(DEMO)
    scenes = demo_scenes()
    int8 = Segmenter.from_pretrained(
        DEMO, fast=True, precision="int8", calibrate=[picture for picture, _ in scenes]
    )
    rows = {
        "dense, fp32": Segmenter.from_pretrained(dense),
        "a tenth, fp32": pruned,
        "a tenth, int8": int8,
    }
    figure = Figure(figsize=(2 * len(SHOWN), 8.2), layout="constrained")
    axes = figure.subplots(1 + len(rows), len(SHOWN))
    for axis, number in zip(axes.T, SHOWN, strict=True):
        picture, words = scenes[number]
        axis[0].imshow(picture)
        for place, (name, segmenter) in zip(axis[1:], rows.items(), strict=True):
            result = segmenter.predict(picture, words)
            place.imshow(np.asarray(result.overlay()))
            place.set_title(name, fontsize=8)
    for axis in axes.flat:
        axis.axis("off")
    return figure


if __name__ == "__main__":
    scenes = sys.argv[1] == "scenes"
    drawn = draw_scenes() if scenes else draw_masks(Path(sys.argv[2]))
    path = FOLDER / ("emoji.jpg" if scenes else "emoji-masks.jpg")
    drawn.savefig(path, dpi=100, pil_kwargs={"quality": 88})
