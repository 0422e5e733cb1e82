"""Trains each head in small on procedural scenes, with several seeds, and scores it on compositions
that it saw and on others.

python benchmarks/scene_heads.py OUT [--heads maskformer:fcclip:...] [--seeds 3] [--images 200]

A cell (head, seed) is a run of the recipe scenes-HEAD; finished cells are kept, killed ones go on.
Scores are fractions of 148 classes that are all asked for: mIoU (detectron2's) of val-seen, all its
classes, and of val-unseen, the held-out compositions alone. Each is scored twice, with the sparse
encoder as a compiled plan and with the same weights dense in torch; the largest difference of their
scores by class and cell is told in parts of the largest score. Chance is a uniformly random class
for every pixel.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from sparse_ovs import Segmenter, densify
from sparse_ovs.data.scenes import UNSEEN, Scenes
from sparse_ovs.evaluation import Confusion, evaluate, scores
from sparse_ovs.formats.files import replace_file
from sparse_ovs.loop import progress_bar
from sparse_ovs.profiling.encoder import max_relative_error
from sparse_ovs.training import (
    build_task,
    find_recipe,
    override,
    read_toml,
    train_segmenter,
)

HEADS = ("maskformer", "fcclip", "deeplabv3", "deeplabv3plus")
SPLITS = ("val-seen", "val-unseen")
_SEEN = [k for k in range(len(Scenes.classes)) if k not in UNSEEN]
_COMPARED = 16  # images whose scores are compared


def train_cell(head: str, seed: int, folder: Path, changes: list[str]) -> float:
    """Trains a cell, or what is left of it; CPU seconds that this took."""
    tables = override(read_toml(find_recipe(f"scenes-{head}")), [*changes, f"run.seed={seed}"])
    start = process_time()
    with progress_bar(Console(stderr=True), f"{head}, seed {seed}") as report:
        train_segmenter(build_task(tables), folder, True, report)
    return process_time() - start


@torch.no_grad()
def score_cell(folder: Path, images: int) -> dict[str, Any]:
    """mIoU of both forms by split, and how far their scores are apart."""
    fast = Segmenter.from_pretrained(folder, fast=True)
    dense = Segmenter.from_pretrained(folder)
    densify(dense.backbone)
    made: dict[str, Any] = {}
    for split in SPLITS:
        dataset = Scenes(split, count=images)
        for form, segmenter in (("fast", fast), ("dense", dense)):
            found = evaluate(segmenter, dataset, seen=_SEEN, split=split).scores
            made[f"{split}, {form}"] = found.seen if split == "val-seen" else found.unseen
    dataset = Scenes("val-unseen", count=_COMPARED)
    predictions = [[each.predict(s.image).scores for s in dataset] for each in (fast, dense)]
    made["error"] = max_relative_error(*predictions)
    return made


def chance(split: str, images: int) -> float:
    """mIoU of random classes."""
    draw, dataset = np.random.default_rng(0), Scenes(split, count=images)
    confusion = Confusion.empty(len(dataset.classes))
    for sample in dataset:
        confusion.add(draw.integers(0, len(dataset.classes), sample.labels.shape), sample.labels)
    found = scores(confusion, dataset.classes, seen=_SEEN)
    value = found.seen if split == "val-seen" else found.unseen
    assert value is not None
    return value


def show(cells: dict[str, list[dict[str, Any]]], images: int) -> Table:
    """A row for each head: means and standard deviations over the seeds."""
    table = Table("head", "seeds", *SPLITS, "plan - dense, most", "score error, most", "CPU s")
    for head, found in cells.items():
        columns = []
        for split in SPLITS:
            values = [100 * cell[f"{split}, fast"] for cell in found]
            spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
            columns.append(f"{mean(values):.2f}{spread}")
        apart = max(
            abs(cell[f"{split}, fast"] - cell[f"{split}, dense"])
            for cell in found
            for split in SPLITS
        )
        error = max(cell["error"] for cell in found)
        seconds = mean(cell["cpu_seconds"] for cell in found)
        table.add_row(
            head, str(len(found)), *columns, f"{100 * apart:.3f}", f"{error:.1e}", f"{seconds:.0f}"
        )
    table.add_row("chance", "", *(f"{100 * chance(split, images):.2f}" for split in SPLITS))
    return table


def main() -> None:
    """Trains and scores what is missing, then shows everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--heads", default=":".join(HEADS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="of the recipes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cells: dict[str, list[dict[str, Any]]] = {}
    for head in arguments.heads.split(":"):
        for seed in range(arguments.seeds):
            folder = arguments.folder / f"{head}-{seed}"
            record = folder / "cell.json"
            if not record.exists():
                seconds = train_cell(head, seed, folder, arguments.set)
                cell = {"cpu_seconds": seconds, **score_cell(folder, arguments.images)}
                replace_file(record, json.dumps(cell, indent=1).encode())
            cells.setdefault(head, []).append(json.loads(record.read_text()))
    Console(width=120).print(show(cells, arguments.images))


if __name__ == "__main__":
    main()
