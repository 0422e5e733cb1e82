"""Draws how the GPU kernels cut their work: `python docs/images/gpu_tiling.py` (needs the plot
extra) writes gpu-bsr.png, gpu-sp24.png and gpu-csr.png beside itself."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

matplotlib.use("Agg")

INK, FAINT, READ, HELD, WRITTEN, RESIDUE = (
    "#333333",
    "#f2f2f2",
    "#9ecae1",
    "#3182bd",
    "#e6550d",
    "#756bb1",
)


def box(
    ax: Axes, x: float, y: float, width: float, height: float, color: str, **more: float
) -> None:
    """A rectangle whose upper left corner is (x, y); y points down."""
    ax.add_patch(Rectangle((x, y), width, height, facecolor=color, edgecolor=INK, lw=0.6, **more))


def grid(ax: Axes, x: float, y: float, columns: int, rows: int, size: float) -> None:
    """Empty cells from (x, y) on."""
    for row in range(rows):
        for column in range(columns):
            box(ax, x + column * size, y + row * size, size, size, FAINT)


def cells(
    ax: Axes, x: float, y: float, size: float, places: Iterable[tuple[int, int]], color: str
) -> None:
    """Cells of a grid at (column, row)."""
    for column, row in places:
        box(ax, x + column * size, y + row * size, size, size, color)


def label(ax: Axes, x: float, y: float, text: str, **more: object) -> None:
    """Text around (x, y)."""
    ax.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 8, "color": INK} | more)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place to another."""
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": INK, "lw": 1}
    ax.add_patch(FancyArrowPatch(start, end, **style))


def canvas(width: float, height: float) -> Axes:
    """An empty picture of width x height units; y points down."""
    figure, ax = plt.subplots(figsize=(width / 2.4, height / 2.4))
    figure.subplots_adjust(0, 0, 1, 1)
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    return ax


def save(ax: Axes, name: str) -> None:
    """Writes the picture beside this file."""
    ax.figure.savefig(Path(__file__).with_name(name), dpi=110)
    plt.close(ax.figure)


def bsr() -> None:
    """`bsr_linear` and `bsr_conv2d`, forward."""
    ax = canvas(25, 10.6)
    kept = [(0, 1), (3, 1), (4, 1), (7, 1)]
    others = [(1, 0), (5, 0), (2, 2), (6, 2), (7, 2), (3, 3)]
    # x, pixels x (taps * channels)
    label(ax, 4.8, 0.6, "x: pixels, channels at a tap")
    grid(ax, 1, 1.2, 8, 8, 0.95)
    cells(ax, 1, 1.2, 0.95, [(c, r) for c, _ in kept for r in (2, 3)], READ)
    label(ax, 0.5, 4.05, "a tile of pixels", rotation=90)
    # weight
    label(ax, 14.2, 3.0, "weight: O / R block rows")
    grid(ax, 10.4, 3.6, 8, 4, 0.95)
    cells(ax, 10.4, 3.6, 0.95, others, "#c6dbef")
    cells(ax, 10.4, 3.6, 0.95, kept, HELD)
    label(ax, 14.2, 8.0, "stored blocks of R x C;\na program walks one block row", va="top")
    read = "only what stored blocks meet is read;\nin a convolution, shifted by the block's tap"
    label(ax, 4.8, 9.2, read, va="top")
    # y
    label(ax, 22.2, 0.6, "y: pixels, O")
    grid(ax, 20.3, 1.2, 4, 8, 0.95)
    cells(ax, 20.3, 1.2, 0.95, [(1, 2), (1, 3)], WRITTEN)
    label(ax, 22.2, 9.2, "sums in registers,\nstored once", va="top")
    arrow(ax, (8.8, 4.05), (10.2, 4.9))
    arrow(ax, (18.2, 5.0), (20.1, 4.05))
    save(ax, "gpu-bsr.png")


def sp24() -> None:
    """`sp24_residue`."""
    random.seed(3)
    ax = canvas(27, 10.2)
    label(ax, 4.4, 0.7, "mask, unstructured: groups of four channels")
    residue = []
    for row in range(6):
        for group in range(4):
            kept = random.sample(range(4), random.choice((0, 1, 1, 2, 2, 3)))
            for place in range(4):
                x, y = 0.8 + group * 1.9 + place * 0.45, 1.4 + row * 0.6
                color = FAINT
                if place in kept:
                    color = HELD if sorted(kept).index(place) < 2 else RESIDUE
                box(ax, x, y, 0.45, 0.6, color)
            residue += [(row, group)] if len(kept) > 2 else []
    label(ax, 4.4, 5.5, "first two of a group: 2:4   a third: residue", fontsize=7)
    # compressed
    label(ax, 12.6, 0.7, "2:4 values, two a group, and positions")
    for row in range(6):
        for group in range(4):
            for slot in range(2):
                box(ax, 10.6 + group + slot * 0.45, 1.4 + row * 0.6, 0.45, 0.6, HELD)
    arrow(ax, (8.7, 3.2), (10.4, 3.2))
    label(ax, 18.2, 2.2, "stages in shared memory,\n64 channels of one tap each", fontsize=8)
    for stage in range(3):
        box(ax, 16.2 + stage * 1.5, 3.2, 1.2, 0.8, HELD)
        box(ax, 16.2 + stage * 1.5, 4.0, 1.2, 1.2, READ)
    label(ax, 18.1, 5.7, "weights over activations (cp.async, 16 bytes)", fontsize=7)
    arrow(ax, (14.8, 3.6), (16.0, 3.6))
    # tile
    label(ax, 23.9, 0.7, "a block's output:\nROWS x PIXELS", va="center")
    for row in range(2):
        for column in range(2):
            box(ax, 22 + column * 1.9, 1.7 + row * 1.9, 1.9, 1.9, WRITTEN, alpha=0.75)
            label(ax, 22.95 + column * 1.9, 2.65 + row * 1.9, "a warp:\nmma.sp", fontsize=7)
    arrow(ax, (20.6, 4.0), (21.8, 3.8))
    # end
    label(ax, 4.4, 7.1, "residue: CSR, a warp a row, a lane a pixel")
    for i in range(7):
        box(ax, 1.9 + i * 0.7, 7.7, 0.5, 0.6, RESIDUE)
    label(ax, 14.6, 7.1, "sums to shared memory, residue added")
    box(ax, 12.2, 7.6, 4.8, 1.9, WRITTEN, alpha=0.75)
    for i in range(5):
        box(ax, 12.5 + i * 0.9, 7.9 + (i * 37 % 3) * 0.5, 0.3, 0.3, RESIDUE)
    label(ax, 23.4, 7.1, "bias, residual, ReLU; 16-byte stores")
    for i in range(4):
        box(ax, 21.2, 7.6 + i * 0.5, 4.4, 0.4, WRITTEN)
    arrow(ax, (7.3, 8.0), (12.0, 8.4))
    arrow(ax, (17.2, 8.5), (21.0, 8.5))
    save(ax, "gpu-sp24.png")


def csr() -> None:
    """`csr_direct`."""
    ax = canvas(26, 9.2)
    label(ax, 4.3, 0.7, "kept weights of an output channel")
    for i, word in enumerate(("w0", "w1", "w2", "w3", "w4")):
        box(ax, 1.2 + i * 1.25, 1.3, 1.1, 0.8, HELD)
        label(ax, 1.75 + i * 1.25, 1.7, word, color="white")
    label(ax, 4.3, 2.9, "staged by the warp, 16 bytes a lane", fontsize=7)
    for i, offset in enumerate(("0", "+2", "+17", "+71", "+88")):
        box(ax, 1.2 + i * 1.25, 3.4, 1.1, 0.8, RESIDUE)
        label(ax, 1.75 + i * 1.25, 3.8, offset, color="white")
    label(ax, 4.3, 4.9, "(channel, tap) become offsets into the padded image,\nonce for all pixels",
          fontsize=7)  # fmt: skip
    arrow(ax, (4.3, 2.2), (4.3, 2.6))
    # image
    label(ax, 14.2, 0.7, "padded image: 32 lanes, each some pixels")
    grid(ax, 9.6, 1.3, 13, 8, 0.7)
    runs = [(c, 3) for c in range(1, 9)]
    cells(ax, 9.6, 1.3, 0.7, runs, READ)
    shifted = [(c, 5) for c in range(3, 11)]
    cells(ax, 9.6, 1.3, 0.7, shifted, HELD)
    arrow(ax, (12.5, 3.9), (13.9, 4.7))
    label(ax, 14.2, 7.6, "each weight shifts the whole run of pixels by its offset:\n"
          "load, multiply, add; no im2col", va="top", fontsize=8)  # fmt: skip
    # output
    label(ax, 22.7, 0.7, "y: a row a warp")
    for row in range(4):
        box(ax, 20.4, 1.4 + row * 1.2, 4.6, 0.8, WRITTEN if row == 1 else FAINT)
        label(ax, 19.8, 1.8 + row * 1.2, f"o{(7, 2, 5, 0)[row]}", fontsize=7)
    label(ax, 22.7, 6.7, "rows of a block have about as many\nweights (row swizzle)", fontsize=7)
    arrow(ax, (18.8, 3.0), (19.4, 3.0))
    save(ax, "gpu-csr.png")


if __name__ == "__main__":
    bsr()
    sp24()
    csr()
