"""Zero-shot accuracy of the tiny CLIP of emoji by precision, dense and pruned to a tenth.

python benchmarks/compression/tiny_precisions.py OUT [--seeds 0:1:2] [--steps 300]

Pruned by compress (obs) on 256 pictures, such as the CLIP was taught on; seeds choose which. int8's
scales are taken from the same; qat learns under the rounding for some steps of label-free
distillation.
The attention pool stays in fp32. Cells that are there are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from tiny_clip import ASKED, SPLITS, calibration_pictures, dense_clip
from torch import Tensor

import sparse_ovs
from cells import Cell, binomial_error, make_cell, spread, write_table
from sparse_ovs import quantize
from sparse_ovs.backbones import Backbone
from sparse_ovs.engine import Quantization
from sparse_ovs.evaluation import emoji_zero_shot
from sparse_ovs.loop import DatasetBatches
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.pruning.embedding import make_embedding_reader
from sparse_ovs.pruning.learn_rounded import learn_rounded, maps_distillation
from sparse_ovs.pruning.run import TrainSettings

PRECISIONS = ("fp32", "bf16", "int8", "qat")
DENSITIES = (1.0, 0.1)
_BATCH = 16


def pruned(density: float, pictures: Tensor, seed: int) -> Backbone:
    """The tiny CLIP with so many of its weights."""
    if density == 1:
        return dense_clip()
    made = sparse_ovs.compress(
        dense_clip(), pictures, density=density, seed=seed, baselines=("eager",)
    ).module
    assert isinstance(made, Backbone)
    return made


def learned(backbone: Backbone, pictures: Tensor, steps: int, seed: int) -> Quantization:
    """Scales after learning under the rounding, towards the dense CLIP."""
    scope = named_weights(backbone, backbone.scope())
    return learn_rounded(
        backbone,
        {name: weight != 0 for name, weight in scope.items()},
        pictures.split(_BATCH),
        DatasetBatches(list(pictures), _BATCH, seed),
        maps_distillation(dense_clip()),
        TrainSettings(steps, lr=1e-4, seed=seed),
    )


def encoder(
    backbone: Backbone, precision: str, quantization: Quantization | None
) -> Callable[[Tensor], Tensor]:
    """Images to embeddings by a compiled trunk and CLIP's own pool."""
    fast = sparse_ovs.compile(
        backbone, torch.zeros(64, 3, 64, 64), precision=precision, quantization=quantization
    )
    reader = make_embedding_reader(backbone)
    return lambda images: reader(fast, images)[1]


def make(precision: str, density: float, seed: int, steps: int) -> Cell:
    """One cell."""
    pictures = calibration_pictures(seed)
    backbone = pruned(density, pictures, seed)
    quantization = None
    if precision == "int8":
        quantization = quantize(backbone, pictures.split(_BATCH))
    elif precision == "qat":
        quantization = learned(backbone, pictures, steps, seed)
    runs_in = precision if quantization is None else "int8"
    encode = encoder(backbone, runs_in, quantization)
    return {split: emoji_zero_shot(backbone, split, encode=encode).top1 for split in SPLITS}


def main() -> None:
    """Makes the cells that are missing, then shows all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precisions", default=":".join(PRECISIONS))
    parser.add_argument("--seeds", default="0:1:2")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seeds = [int(text) for text in options.seeds.split(":")]
    rows, error = [], 0.0
    for density in DENSITIES:
        for precision in options.precisions.split(":"):
            cells = [
                make_cell(
                    options.folder,
                    f"{precision}-{density:g}-{seed}",
                    lambda p=precision, d=density, s=seed: make(p, d, s, options.steps),
                )
                for seed in seeds
            ]
            both = sum(cells[0][split] for split in SPLITS) / len(SPLITS)
            error = max(error, 100 * binomial_error(both, len(SPLITS) * ASKED))
            scores = (spread([100 * cell[split] for cell in cells], 1) for split in SPLITS)
            rows.append([f"{100 * density:g} %", precision, *scores])
    title = f"Zero-shot accuracy, per cent (binomial error of both splits together {error:.1f})"
    write_table(options.folder / "table.md", title, ["weights kept", "precision", *SPLITS], rows)


if __name__ == "__main__":
    main()
