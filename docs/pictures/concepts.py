"""Draws the pictures of docs/concepts.md: `python docs/pictures/concepts.py` (needs the plot extra)
writes patterns.svg, packed.svg, rounds.svg and alpha.svg into docs/images."""

from __future__ import annotations

import pathlib

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from torch import Tensor

import sparse_ovs
from sparse_ovs.formats import pack
from sparse_ovs.pruning import gradual, iterative, one_shot
from sparse_ovs.spectral import analyse, choose

FOLDER = pathlib.Path(__file__).parents[1] / "images"
INK, FAINT, KEPT, OTHER, LINE = "#333333", "#eef1f4", "#3b6fb6", "#c2571a", "#9aa5b1"
# CLIP RN50's weights in scope, the convolutions of layer1 to layer4.
RN50_WEIGHTS = 23_445_504


def draw_patterns() -> Figure:
    """The same weight, 16 output channels x 32 columns, under the four patterns."""
    weight = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    figure, axes = plt.subplots(1, 4, figsize=(9.6, 2.1), layout="constrained")
    for axis, (pattern, density) in zip(
        axes,
        {"unstructured": 0.25, "block4x1": 0.25, "2:4": 0.5, "channel": 0.25}.items(),
        strict=True,
    ):
        draw_mask(axis, sparse_ovs.make_mask(weight, pattern, density))
        axis.set_title(f"{pattern}, density {density:g}", fontsize=9, family="monospace")
    axes[0].set_ylabel("output channels O", fontsize=8)
    for axis in axes:
        axis.set_xlabel("columns kh, kw, I", fontsize=8)
    return figure


def draw_packed() -> Figure:
    """A weight of 4 x 8 as a packed stream, and a bottleneck as steps of a plan."""
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(4)).round(decimals=1)
    mask = sparse_ovs.make_mask(weight, "unstructured", 0.25)
    packed = pack(weight, mask)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 1.6), layout="constrained")
    for axis in (left, right):
        axis.set_aspect("equal")
        axis.axis("off")
    draw_cells(left, 0, 0, (weight * mask).tolist())
    left.text(4, -0.5, "weight, dense with zeros", ha="center", fontsize=8, color=INK)
    left.add_patch(FancyArrowPatch((8.3, 2), (9.7, 2), arrowstyle="-|>", mutation_scale=10))
    for place, (name, row) in enumerate(
        {
            "values": packed.values.flatten().tolist(),
            "indices": packed.indices.tolist(),
            "row_ptr": packed.row_ptr.tolist(),
        }.items()
    ):
        draw_cells(left, 12.4, 0.1 + 1.4 * place, [row], zeros=True)
        left.text(12.2, 0.6 + 1.4 * place, name, ha="right", va="center", fontsize=8, color=INK)
    left.set(xlim=(-0.2, 20.6), ylim=(4.4, -1))

    before = ["conv", "norm", "relu", "conv", "norm", "relu", "conv", "norm", "add", "relu"]
    after = [("conv + relu", 3), ("conv + relu", 3), ("conv + residual + relu", 4)]
    right.text(0, 0.3, "exported graph", fontsize=8, color=INK)
    for place, name in enumerate(before):
        draw_box(right, 2 * place, 0.6, 1.8, name, FAINT, INK)
    right.text(0, 5.3, "plan: three steps, one call", fontsize=8, color=INK)
    at = 0
    for name, width in after:
        middle = 2 * at + width - 0.1
        right.add_patch(
            FancyArrowPatch((middle, 1.8), (middle, 3), arrowstyle="-|>", mutation_scale=8)
        )
        draw_box(right, 2 * at, 3.6, 2 * width - 0.2, name, KEPT, "white")
        at += width
    right.set(xlim=(-0.2, 20.2), ylim=(5.7, -0.6))
    return figure


def draw_rounds() -> Figure:
    """What remains after each round of the schedules, and masks that only lose weights."""
    weight = torch.randn(16, 32, generator=torch.Generator().manual_seed(1))
    figure = plt.figure(figsize=(9.6, 2.6), layout="constrained")
    curve, *masks = figure.subplots(1, 4, width_ratios=(1.7, 1, 1, 1))
    schedules = {
        "imp": (iterative(RN50_WEIGHTS, rounds=22), KEPT),
        "gradual": (gradual(RN50_WEIGHTS, 0.1, 22), OTHER),
        "oneshot": (one_shot(RN50_WEIGHTS, 0.1), LINE),
    }
    for name, (counts, colour) in schedules.items():
        densities = [1.0, *(count / RN50_WEIGHTS for count in counts)]
        curve.plot(densities, color=colour, marker="o", ms=2.5, lw=1, label=name)
    curve.set(xlabel="round", ylabel="density", ylim=(0, 1.04))
    curve.legend(frameon=False, fontsize=8)
    curve.spines[["top", "right"]].set_visible(False)
    curve.tick_params(labelsize=8)
    counts = iterative(weight.numel(), rounds=22)
    mask = torch.ones_like(weight, dtype=torch.bool)
    for axis, rounds in zip(masks, (5, 10, 22), strict=True):
        mask = sparse_ovs.make_mask(weight, "unstructured", count=counts[rounds - 1], previous=mask)
        draw_mask(axis, mask)
        axis.set_title(f"round {rounds}: {mask.float().mean():.2f}", fontsize=9)
    return figure


def draw_alpha() -> Figure:
    """Two drawn power laws, and alpha of every layer of the tiny CLIP."""
    torch.manual_seed(0)
    trained = analyse(sparse_ovs.create_backbone("scenes-RN50", pretrained="scenes"))
    selection = choose(trained, "median", "scenes-RN50")
    figure, (spectrum, bars) = plt.subplots(
        1, 2, figsize=(9.6, 2.8), width_ratios=(1, 1.8), layout="constrained"
    )
    draws = np.random.default_rng(0)
    edges = np.geomspace(1, 1e3, 25)
    for alpha, colour in ((2.0, KEPT), (4.0, OTHER)):
        # p(x) ~ x^-alpha above 1.
        values = (1 - draws.random(5000)) ** (-1 / (alpha - 1))
        density, _ = np.histogram(values, edges, density=True)
        spectrum.stairs(density, edges, color=colour, label=f"alpha {alpha:g}", lw=1.4)
    spectrum.set(xscale="log", yscale="log", ylim=(1e-6, 5), xlabel="eigenvalue", ylabel="density")
    spectrum.legend(frameon=False, fontsize=8)
    heights = [layer.alpha for layer in selection.layers]
    colours = [KEPT if layer.frozen else OTHER for layer in selection.layers]
    bars.bar(range(len(heights)), heights, 0.8, color=colours)
    bars.axhline(float(np.median(heights)), color=INK, lw=0.8, ls="--")
    bars.bar([0], [0], color=KEPT, label="below the median: frozen")
    bars.bar([0], [0], color=OTHER, label="trained")
    bars.set(xlabel="layer, from the image on", ylabel="alpha", ylim=(0, 1.25 * max(heights)))
    bars.legend(frameon=False, fontsize=8, ncols=2, loc="upper center")
    for axis in (spectrum, bars):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure


def draw_mask(axis: Axes, mask: Tensor) -> None:
    """Kept weights of a (rows, columns) mask as dark cells, all in one path."""
    rows, columns = mask.shape
    cells = [
        Path.unit_rectangle().transformed(Affine2D().translate(column, row))
        for row, column in mask.nonzero().tolist()
    ]
    parts: list[Artist] = [
        axis.add_patch(Rectangle((0, 0), columns, rows, facecolor=FAINT)),
        axis.add_patch(PathPatch(Path.make_compound_path(*cells), facecolor=KEPT, lw=0)),
        axis.hlines(range(rows + 1), 0, columns, color="w", lw=0.5),
        axis.vlines(range(columns + 1), 0, rows, color="w", lw=0.5),
    ]
    for part in parts:
        part.set_clip_on(False)  # names of clips change from run to run
    axis.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)


def draw_cells(
    axis: Axes, x: float, y: float, rows: list[list[float]], zeros: bool = False
) -> None:
    """Numbers in cells from (x, y) on; y points down. Zeros are left out unless wanted."""
    for down, row in enumerate(rows):
        for along, value in enumerate(row):
            shown = zeros or value != 0
            colour = "#cfdff2" if shown else FAINT
            place = (x + along, y + down)
            axis.add_patch(Rectangle(place, 1, 1, facecolor=colour, edgecolor="w", lw=0.8))
            if shown:
                text = f"{value:.1f}" if isinstance(value, float) else str(value)
                axis.text(
                    place[0] + 0.5, place[1] + 0.5, text, ha="center", va="center", fontsize=6.5
                )


def draw_box(axis: Axes, x: float, y: float, width: float, text: str, face: str, ink: str) -> None:
    """A rounded box with a word."""
    shape = FancyBboxPatch((x, y), width, 1, "round,pad=0,rounding_size=0.2", fc=face, ec=LINE)
    axis.add_patch(shape)
    axis.text(x + width / 2, y + 0.5, text, ha="center", va="center", fontsize=7, color=ink)


def main() -> None:
    """Writes the pictures, the same bytes each time."""
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "sparse_ovs", "svg.fonttype": "path"})
    drawings = {
        "patterns": draw_patterns,
        "packed": draw_packed,
        "rounds": draw_rounds,
        "alpha": draw_alpha,
    }
    for name, draw in drawings.items():
        figure = draw()
        figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None}, facecolor="white")
        plt.close(figure)


if __name__ == "__main__":
    main()
