"""Pictures of what an encoder sees and what it costs; needs matplotlib (the `plot` extra)."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sparse_ovs.profiling.figures import save_figure

_DENSE_COLOUR, _SPARSE_COLOUR = "#9aa5b1", "#1b8a5a"
_MORE_COLOURS = ("#c2571a", "#3b6fb6", "#8e5ea2")


def pca_colours(features: Tensor, reference: Tensor) -> np.ndarray:
    """Feature maps as colours: the three main directions of the reference as red, green and blue.

    Both maps of a pair drawn against the same reference can be compared by eye.

    Args:
        features, reference: (C, H, W).

    Returns:
        (H, W, 3) float32 in 0..1.
    """
    basis = reference.flatten(1).T.double()  # (H * W, C)
    mean = basis.mean(0)
    _, _, directions = torch.linalg.svd(basis - mean, full_matrices=False)
    directions = directions[:3]  # fewer where the map has fewer pixels or channels
    shown = (basis - mean) @ directions.T
    low, high = torch.quantile(shown, torch.tensor([0.01, 0.99]).double(), dim=0)
    points = (features.flatten(1).T.double() - mean) @ directions.T
    points = ((points - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    colours = torch.zeros(points.shape[0], 3, dtype=torch.float64)
    colours[:, : points.shape[1]] = points
    return colours.reshape(*features.shape[1:], 3).float().numpy()


def draw_densities(
    densities: Mapping[str, Mapping[str, float]], path: str | os.PathLike[str], title: str = ""
) -> None:
    """Draws the kept fraction of every layer, one series of bars for each encoder.

    Args:
        densities: by encoder, then by layer; all of the same layers.
        title: above the picture.
    """
    from matplotlib.figure import Figure

    layers = list(next(iter(densities.values())))
    figure = Figure(figsize=(max(8.0, 0.2 * len(layers) + 2), 4.2), layout="constrained")
    axis = figure.subplots()
    place = np.arange(len(layers))
    width = 0.8 / len(densities)
    colours = (_DENSE_COLOUR, _SPARSE_COLOUR, *_MORE_COLOURS)
    for index, (name, by_layer) in enumerate(densities.items()):
        shift = (index + 0.5) * width - 0.4
        values = [by_layer[layer] for layer in layers]
        axis.bar(place + shift, values, width, label=name, color=colours[index % len(colours)])
    axis.set_xticks(place, layers, fontsize=7, rotation=90)
    axis.set_xlim(-0.7, len(layers) - 0.3)
    axis.set_ylabel("density (kept fraction)")
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    save_figure(figure, path)
