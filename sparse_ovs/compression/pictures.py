"""Pictures of a compression: what both encoders see, and quality against measured speed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.utils._pytree as pytree
from PIL import Image
from torch import Tensor

from sparse_ovs.predictor.overlays import blend, with_legend
from sparse_ovs.predictor.palette import colours
from sparse_ovs.profiling.figures import save_figure
from sparse_ovs.profiling.pictures import pca_colours

_SHOWN = 3  # images
_SIDE = 192  # pixels of each picture's height
_ALPHA = 0.55  # of a class's colour over the photo


@torch.no_grad()
def side_by_side(
    images: Tensor, dense: Callable[[Tensor], Any], ours: Callable[[Tensor], Any]
) -> list[bytes]:
    """PNGs of a few images, each beside the dense encoder's last map and ours, as colours of the
    same three directions; none where the last output is no map.

    Args:
        images: (M, C, H, W), prepared as for the encoders.
    """
    made = []
    for image in images[:_SHOWN].split(1):
        expected, found = _last_map(dense(image)), _last_map(ours(image))
        if expected is None or found is None or expected.shape[1] < 3:
            return []
        parts = [
            _photo(image[0]),
            pca_colours(expected[0], expected[0]),
            pca_colours(found[0], expected[0]),
        ]
        made.append(_png(np.concatenate([_scaled(part) for part in parts], 1)))
    return made


@torch.no_grad()
def masks_side_by_side(
    images: Tensor,
    dense: Callable[[Tensor], Any],
    ours: Callable[[Tensor], Any],
    labels: Callable[[Any], Tensor],
    names: Sequence[str],
) -> list[bytes]:
    """PNGs of a few images, each beside the classes that win by the dense encoder and by ours, with
    a legend.

    Args:
        images: (M, C, H, W), prepared as for the encoders.
        labels: outputs of one image -> the winning class of each cell, (1, H, W).
        names: of the classes.
    """
    table = colours(len(names))
    made = []
    for image in images[:_SHOWN].split(1):
        photo = Image.fromarray(_scaled(_photo(image[0])))
        found = [labels(each(image))[0].numpy() for each in (dense, ours)]
        shown = [blend(photo, _stretched(each, photo), table, _ALPHA) for each in found]
        row = Image.fromarray(np.concatenate([np.asarray(each) for each in (photo, *shown)], 1))
        seen = sorted({int(index) for each in found for index in np.unique(each)})
        lines = [(table[index], names[index]) for index in seen]
        made.append(_png(np.asarray(with_legend(row, lines))))
    return made


def draw_sweep(
    points: Sequence[tuple[float, float]], quality: str, path: str | os.PathLike[str]
) -> None:
    """Draws quality against measured speed-up; needs matplotlib.

    Args:
        points: (speed-up, quality), one for each compression.
        quality: what it is, in words.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    points = sorted(points)
    axis.plot([x for x, _ in points], [y for _, y in points], "o-", color="#1b8a5a")
    for x, y in points:
        axis.annotate(f"{x:.1f}x: {y:.4f}", (x, y), textcoords="offset points", xytext=(5, 5))
    axis.set_xlabel("times as fast as the fastest dense torch, measured")
    axis.set_ylabel(quality)
    axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _last_map(outputs: Any) -> Tensor | None:
    leaves = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return leaves[-1] if leaves and leaves[-1].dim() == 4 else None


def _photo(image: Tensor) -> np.ndarray:
    """(H, W, 3) in 0..1, by the image's own range: how it was prepared is not known here."""
    low, high = image.amin(), image.amax()
    shown = (image[:3] - low) / (high - low).clamp_min(1e-12)
    return shown.expand(3, -1, -1).permute(1, 2, 0).numpy()


def _stretched(labels: np.ndarray, photo: Image.Image) -> np.ndarray:
    cells = Image.fromarray(labels.astype(np.int32))
    return np.asarray(cells.resize(photo.size, Image.Resampling.NEAREST))


def _scaled(picture: np.ndarray) -> np.ndarray:
    pixels = Image.fromarray((255 * picture).round().astype(np.uint8))
    width = round(pixels.width * _SIDE / pixels.height)
    return np.asarray(pixels.resize((width, _SIDE), Image.Resampling.NEAREST))


def _png(pixels: np.ndarray) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()
