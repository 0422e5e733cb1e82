"""Pictures of spectra and selections; needs matplotlib (the `plot` extra)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from sparse_ovs.profiling.figures import save_figure
from sparse_ovs.spectral.estimators import Fit
from sparse_ovs.spectral.selection import Selection

_FROZEN, _TRAINED, _SPECTRUM, _TAIL = "#3b6fb6", "#c2571a", "#9aa5b1", "#1b1b1b"
_MOST_BINS = 60


def draw_selection(
    selection: Selection,
    spectra: Mapping[str, tuple[Tensor, Fit]],
    path: str | os.PathLike[str],
    title: str = "",
) -> None:
    """Draws the spectra of some layers with the fitted tail, and below them alpha and the share of
    weights (and MACs, where known) of every layer, frozen and trained in two colours.

    Args:
        spectra: eigenvalues and fit, by layer name; at least one.
    """
    from matplotlib.figure import Figure

    layers = selection.layers
    figure = Figure(figsize=(max(10.0, 0.2 * len(layers) + 2), 9.5), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 2))
    top, below = parts
    for axis, (name, (values, fit)) in zip(
        np.atleast_1d(top.subplots(1, len(spectra))), spectra.items(), strict=True
    ):
        _draw_spectrum(axis, values.numpy(), fit, name)
    handles, labels = top.axes[0].get_legend_handles_labels()
    top.legend(handles, labels, frameon=False, ncols=2, loc="outside lower center")
    alphas, shares = below.subplots(2, 1, sharex=True)
    place = np.arange(len(layers))
    colours = [_FROZEN if layer.frozen else _TRAINED for layer in layers]
    alphas.bar(place, [layer.alpha for layer in layers], 0.8, color=colours)
    alphas.set_ylabel("alpha")
    known = all(layer.mac_share is not None for layer in layers)
    for colour, word in ((_FROZEN, "frozen"), (_TRAINED, "trained")):
        label = _label(selection, word == "frozen", known)
        alphas.bar([0], [0], color=colour, label=f"{word}: {label}")
    alphas.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    bars = [layer.mac_share if known else layer.weight_share for layer in layers]
    shares.bar(place, [100 * (share or 0.0) for share in bars], 0.8, color=colours)
    shares.set_ylabel("share of MACs, %" if known else "share of weights, %")
    shares.set_xticks(place, [layer.name for layer in layers], fontsize=7, rotation=90)
    shares.set_xlim(-0.7, len(layers) - 0.3)
    for axis in (alphas, shares):
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)


def _label(selection: Selection, frozen: bool, known: bool) -> str:
    layers = [layer for layer in selection.layers if layer.frozen == frozen]
    shares = [layer.mac_share if known else layer.weight_share for layer in layers]
    of = "MACs" if known else "weights"
    return f"{len(layers)} layers, {sum(share or 0.0 for share in shares):.0%} of the {of}"


def _draw_spectrum(axis: Any, values: np.ndarray, fit: Fit, name: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    bins = min(_MOST_BINS, max(8, len(values) // 10))
    edges = np.geomspace(values[0], values[-1] * (1 + 1e-9), bins + 1)
    density, _ = np.histogram(values, edges, density=True)
    axis.stairs(density, edges, fill=True, color=_SPECTRUM, label="spectrum")
    tail = np.geomspace(fit.xmin, values[-1], 100)
    # The power law has the tail's share of the probability.
    law = (fit.alpha - 1) / fit.xmin * (tail / fit.xmin) ** -fit.alpha * fit.tail / len(values)
    axis.plot(tail, law, color=_TAIL, linewidth=1.5, label="power law fitted to the tail")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(bottom=min(density[density > 0].min(), law.min()) / 2)
    for scale in (axis.xaxis, axis.yaxis):
        low, high = scale.get_view_interval()
        scale.set_minor_formatter(NullFormatter())  # its labels overlap
        if high < 100 * low:  # powers of ten alone would label one tick or none
            scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
            scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_title(f"{name}\nalpha {fit.alpha:.2f}, D {fit.fit_distance:.3f}", fontsize=9)
    axis.set_xlabel("eigenvalue")
    axis.set_ylabel("density")
    axis.spines[["top", "right"]].set_visible(False)
