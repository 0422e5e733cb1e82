"""Zero-shot accuracy of the tiny CLIP of emoji after compression without labels, by four methods.

python benchmarks/compression/tiny_clip.py OUT [--methods obs:repair] [--densities 0.5:0.2:0.1]
                                               [--seeds 0:1:2]

- magnitude: compress(method="magnitude"), which looks at no images
- obs: compress
- repair: compress(minutes=10)
- imp: find_subnetwork, ten minutes of label-free distillation shared among its rounds by the time
  that steps take when it begins; BatchNorm's statistics as they are then, or estimated anew on the
  same images, whichever does better

All see the same 256 pictures, such as the CLIP was taught on; seeds choose which. It is asked for
200 names on pictures by hands that no training showed. Cells that are there are kept, so that
several processes may fill one folder with different ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

import sparse_ovs
from cells import Cell, binomial_error, make_cell, spread, write_table
from sparse_ovs.backbones import Backbone
from sparse_ovs.data.emoji import CONCEPTS
from sparse_ovs.evaluation import emoji_zero_shot
from sparse_ovs.loop import DatasetBatches
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.pruning import SubnetworkSettings, find_subnetwork, iterative, unit_counts
from sparse_ovs.pruning.criteria import density_of
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.recalibrate import recalibrate_batch_norm
from sparse_ovs.training.emoji_captions import EmojiCaptions

METHODS = ("magnitude", "obs", "repair", "imp")
SPLITS = ("val", "val-hard")
ASKED = 8 * len(CONCEPTS)  # pictures of each split
_IMAGES, _BATCH, _MINUTES = 256, 16, 10.0


def dense_clip() -> Backbone:
    """The shipped tiny CLIP."""
    return sparse_ovs.create_backbone("emoji-RN50", pretrained="emoji")


def calibration_pictures(seed: int) -> Tensor:
    """(256, 3, 64, 64): as the CLIP was taught."""
    made = EmojiCaptions(_BATCH, 64, seed)
    return torch.cat([made(number)[0] for number in range(_IMAGES // _BATCH)])


def score(backbone: Backbone) -> dict[str, float]:
    """Zero-shot top-1 by split."""
    return {split: emoji_zero_shot(backbone, split).top1 for split in SPLITS}


def compressed(method: str, density: float, seed: int) -> Cell:
    """A cell of compress."""
    backbone = dense_clip()
    made = sparse_ovs.compress(
        backbone,
        calibration_pictures(seed),
        density=density,
        method="magnitude" if method == "magnitude" else "obs",
        minutes=_MINUTES if method == "repair" else 0.0,
        seed=seed,
        baselines=("eager",),
    )
    assert isinstance(made.module, Backbone)
    cell: Cell = {"density": made.report.density, **score(made.module)}
    if made.report.repaired is not None:
        how = made.report.repaired
        cell |= {"steps": how.steps, "timed_out": how.timed_out}
        cell |= {"held_out_before": how.before, "held_out_after": how.after}
    return cell


def iteratively_pruned(density: float, seed: int) -> Cell:
    """A cell of iterative magnitude pruning."""
    backbone = dense_clip()
    pictures = calibration_pictures(seed)
    units = sum(unit_counts(named_weights(backbone, backbone.scope()), "unstructured").values())
    rounds = len(iterative(units, density=density))
    a_round = max(1, int(60 * _MINUTES / rounds / _seconds_of_step(backbone, pictures)))
    start = perf_counter()
    found = find_subnetwork(
        SubnetworkSettings("imp", density=density, iters_per_round=a_round, seed=seed),
        backbone,
        DatasetBatches(list(pictures), _BATCH, seed),
    )
    cell: Cell = {"density": density_of(found.masks), "steps": rounds * a_round}
    cell |= {"training_s": perf_counter() - start, "as_trained": score(backbone)}
    recalibrate_batch_norm(backbone, pictures.split(_BATCH))
    cell["recalibrated"] = score(backbone)
    return cell | max(
        cell["as_trained"], cell["recalibrated"], key=lambda found: sum(found.values())
    )


def _seconds_of_step(backbone: Backbone, pictures: Tensor) -> float:
    """Of distillation, forward and backward, as fast as this machine is now."""
    loss, batches = LabelFreeDistillation(backbone), pictures.split(_BATCH) * 2
    start = perf_counter()
    for batch in batches:
        loss(backbone, batch)["loss"].backward()
    backbone.zero_grad(set_to_none=True)
    return (perf_counter() - start) / len(batches)


def make(method: str, density: float, seed: int) -> Cell:
    """One cell."""
    if method == "imp":
        return iteratively_pruned(density, seed)
    return compressed(method, density, seed)


def show(folder: Path, methods: list[str], densities: list[float], seeds: list[int]) -> None:
    """The table of what is there."""
    dense = make_cell(folder, "dense", lambda: score(dense_clip()))
    both = sum(dense[split] for split in SPLITS) / len(SPLITS)
    error = 100 * binomial_error(both, len(SPLITS) * ASKED)
    rows = [["100 %", "", *(f"{100 * dense[split]:.1f}" for split in SPLITS), "", "", ""]]
    for density in densities:
        for method in methods:
            paths = [folder / f"{method}-{density:g}-{seed}.json" for seed in seeds]
            cells = [make_cell(folder, p.stem, dict) for p in paths if p.exists()]
            if not cells:
                continue
            rows.append(
                [
                    f"{100 * density:g} %",
                    method,
                    *(spread([100 * c[split] for c in cells], 1) for split in SPLITS),
                    ", ".join(str(c["steps"]) for c in cells if "steps" in c),
                    spread([c["seconds"] for c in cells], 0),
                    f"{max(c['peak_gb'] for c in cells):.1f}",
                ]
            )
    head = ["weights kept", "method", *SPLITS, "steps", "s", "GB"]
    title = f"Zero-shot accuracy, per cent (binomial error of both splits together {error:.1f})"
    write_table(folder / "table.md", title, head, rows)


def main() -> None:
    """Makes the cells that are missing, then shows all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", default=":".join(METHODS))
    parser.add_argument("--densities", default="0.5:0.2:0.1")
    parser.add_argument("--seeds", default="0:1:2")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    methods = options.methods.split(":")
    densities = [float(text) for text in options.densities.split(":")]
    seeds = [int(text) for text in options.seeds.split(":")]
    for seed in seeds:
        for density in densities:
            for method in methods:
                if method == "magnitude" and seed != seeds[0]:
                    continue  # looks at no images
                name = f"{method}-{density:g}-{seed}"
                make_cell(options.folder, name, lambda m=method, d=density, s=seed: make(m, d, s))
    show(options.folder, methods, densities, seeds)


if __name__ == "__main__":
    main()
