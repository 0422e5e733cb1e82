"""Pictures of the tables; needs matplotlib (the `plot` extra)."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

from sparse_ovs.profiling.figures import save_figure
from sparse_ovs.profiling.pictures import draw_densities
from sparse_ovs.reproduce.cost import PAPER_MODELS
from sparse_ovs.reproduce.encoders import ARMS
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.transfer_tables import Records, densities, of_seeds, percents
from sparse_ovs.reproduce.tuning import FULL, RULES, STATES, cell_prefix, is_tuned

_COLOURS = ("#9aa5b1", "#1b8a5a", "#3b6fb6", "#c2571a", "#d9a441", "#8e5ea2", "#5b6770")
SUFFIXES = (".png", ".svg")


def draw_transfer(experiment: Experiment, records: Records, stem: Path) -> None:
    """Bars of mIoU by head and arm, a panel for each column of scores."""
    columns, heads = list(experiment.columns()), list(experiment.transfer.recipes)
    figure, axes = _panels(len(columns), 0.9 + 1.9 * len(heads), 3.6)
    for axis, column in zip(axes, columns, strict=True):
        for index, (arm, title) in enumerate(ARMS.items()):
            places, values, errors = [], [], []
            for place, head in enumerate(heads):
                found = percents(records, experiment, column, f"transfer/{head}/{arm}/")
                if found:
                    places.append(place + (index - (len(ARMS) - 1) / 2) * 0.13)
                    values.append(mean(found))
                    errors.append(stdev(found) if len(found) > 1 else 0.0)
            axis.bar(places, values, 0.12, yerr=errors, label=title, color=_COLOURS[index])
        axis.set_xticks(range(len(heads)), heads)
        axis.set_ylabel(f"mIoU {column}, %")
        axis.spines[["top", "right"]].set_visible(False)
    _legend_below(figure, axes[0])
    _save(figure, stem)


def draw_tuning(experiment: Experiment, records: Records, stem: Path) -> None:
    """mIoU of every rule with the MACs that it froze, a row of panels for each encoder."""
    columns = list(experiment.columns())
    figure, axes = _panels(len(columns), 5.4, 3.9, len(STATES))
    groups = {FULL: 0, "alpha": 1, "alpha25": 1, "alpha75": 1, "alpha*": 3}
    for number, axis in enumerate(axes):
        state, column = STATES[number // len(columns)], columns[number % len(columns)]
        labels: list[str] = []
        for arm, rule in RULES.items():
            prefix = cell_prefix(state, arm)
            found = percents(records, experiment, column, prefix)
            if not found:
                continue
            cells = of_seeds(records, experiment, prefix)
            frozen = mean(100 * cell["frozen_macs"] for cell in cells)
            error = stdev(found) if len(found) > 1 else 0.0
            colour = _COLOURS[groups.get(arm, 2)]
            axis.errorbar(mean(found), len(labels), xerr=error, fmt="o", color=colour, capsize=2)
            labels.append(f"{rule.title} ({frozen:.0f} %)")
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel(f"mIoU {column}, %")
        axis.set_title(f"{state} encoder (MACs of the segmenter frozen)", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, stem)


def draw_cost(records: Records, stem: Path) -> None:
    """GMAC of whole models, the paper's and ours, dense and sparse."""
    models = records["cost/counts"]["models"]
    figure, axes = _panels(1, 7.5, 3.6)
    labels = ("dense, paper", "dense, ours", "sparse, paper", "sparse, ours (trained densities)")
    for index, label in enumerate(labels):
        values = [
            (
                PAPER_MODELS[head][0][1],
                m["dense"] / 1e9,
                PAPER_MODELS[head][1][1],
                m["trained"] / 1e9,
            )[index]
            for head, m in models.items()
        ]
        places = [place + (index - 1.5) * 0.2 for place in range(len(values))]
        axes[0].bar(
            places,
            values,
            0.19,
            label=label,
            color=("#c3cad1", "#9aa5b1", "#8ac6a9", "#1b8a5a")[index],
        )
    axes[0].set_xticks(range(len(models)), list(models))
    axes[0].set_ylabel("GMAC an image")
    axes[0].spines[["top", "right"]].set_visible(False)
    _legend_below(figure, axes[0])
    _save(figure, stem)


def draw_layers(experiment: Experiment, records: Records, stem: Path) -> None:
    """Kept fraction by layer of every arm."""
    for suffix in SUFFIXES:
        draw_densities(
            densities(experiment, records),
            stem.with_suffix(suffix),
            "kept fraction by layer, seed 0",
        )


def drawable(experiment: Experiment, records: Records) -> dict[str, Any]:
    """What there are records for: file stem -> (function of the stem, caption)."""
    made: dict[str, Any] = {}
    if any(name.startswith("transfer/") for name in records):
        made["transfer"] = (
            lambda stem: draw_transfer(experiment, records, stem),
            "mIoU by head and encoder; bars: standard deviation over the seeds",
        )
    if densities(experiment, records):
        made["densities"] = (
            lambda stem: draw_layers(experiment, records, stem),
            "where the weights stay",
        )
    if any(map(is_tuned, records)):
        made["tuning"] = (
            lambda stem: draw_tuning(experiment, records, stem),
            "mIoU by rule; green: alpha, orange: reversed, blue: controls and other rules",
        )
    if "cost/counts" in records:
        made["cost"] = (lambda stem: draw_cost(records, stem), "MACs of whole models")
    return made


def _panels(count: int, width: float, height: float, rows: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height * rows), layout="constrained")
    axes = figure.subplots(rows, count, squeeze=False)
    return figure, [axis for row in axes for axis in row]


def _legend_below(figure: Any, axis: Any) -> None:
    """Where no bar can hide it."""
    handles, labels = axis.get_legend_handles_labels()
    place = "outside lower center"
    figure.legend(handles, labels, loc=place, ncols=len(labels), frameon=False, fontsize=8)


def _save(figure: Any, stem: Path) -> None:
    for suffix in SUFFIXES:
        save_figure(figure, stem.with_suffix(suffix))
