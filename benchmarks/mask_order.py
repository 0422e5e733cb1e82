"""mIoU of the shipped segmenter by the order in which masks become scores (Options.mask_order).

python benchmarks/mask_order.py [--images 60] [--json FILE]

Classes that are in the ground truth count (detectron2's mIoU), all 148 are asked for. The last
column is the share of pixels whose class the cheap order changes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sparse_ovs import Segmenter
from sparse_ovs.data.scenes import Scenes
from sparse_ovs.evaluation import Confusion, scores
from sparse_ovs.segmenter.options import MASK_ORDERS

ROWS = (("val-seen", 128), ("val-unseen", 128), ("val-seen", 256), ("val-unseen", 256))


def score_row(segmenter: Segmenter, dataset: Scenes) -> dict[str, float]:
    """mIoU in per cent by order, and "changed" by the cheap one, likewise."""
    found = {order: Confusion.empty(len(dataset.classes)) for order in MASK_ORDERS}
    changed = []
    for sample in dataset:
        labels = {}
        for order in MASK_ORDERS:
            segmenter.options = replace(segmenter.options, mask_order=order)
            labels[order] = segmenter.predict_labels(sample.image).numpy()
            found[order].add(labels[order], sample.labels)
        changed.append(np.mean(labels["cheap"] != labels["original"]))
    made = {
        order: 100 * scores(confusion, dataset.classes).miou for order, confusion in found.items()
    }
    return {**made, "changed": 100 * float(np.mean(changed))}


def main() -> None:
    """Scores each split and size by each order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60, help="scenes of each row")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    segmenter = Segmenter.from_pretrained("scenes-maskformer", fast=True).set_vocabulary(
        Scenes.classes
    )
    table = Table("split", "pixels", *MASK_ORDERS, "% of pixels changed")
    record = []
    for split, size in track(ROWS, "score", console=Console(stderr=True)):
        made = score_row(segmenter, Scenes(split, size, arguments.images))
        record.append({"split": split, "size": size, "images": arguments.images, **made})
        table.add_row(split, str(size), *(f"{value:.2f}" for value in made.values()))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
