"""The comparison as a picture: bars by configuration, or curves over density for the full grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peer_runs.cases import Configuration
from peer_runs.contestants import CONTESTANTS
from peer_runs.record import Measurement
from peer_runs.report import Result

_PEER, _OURS, _INK, _FAINT = "#aab4bf", "#1b8a5a", "#2b3440", "#6b7684"
_BAR_INCHES, _COLUMNS = 0.27, 2


def draw_bars(measurements: Mapping[Configuration, Measurement], path: Path) -> None:
    """One panel a configuration: a bar a contestant with its ms and its ratio to ours."""
    from matplotlib.figure import Figure

    shown = list(measurements.items())
    columns = min(_COLUMNS, len(shown))
    lines = [shown[i : i + columns] for i in range(0, len(shown), columns)]
    heights = [max(len(m.contestants) for _, m in line) * _BAR_INCHES + 0.4 for line in lines]
    figure = Figure(figsize=(7.2 * columns, sum(heights) + 0.5), layout="constrained")
    grid = figure.add_gridspec(len(lines), columns, height_ratios=heights)
    for row, line in enumerate(lines):
        most = max(len(m.contestants) for _, m in line)
        for column, (configuration, measurement) in enumerate(line):
            axis = figure.add_subplot(grid[row, column])
            _panel(axis, configuration, measurement, most)
    machine = shown[0][1].machine
    figure.suptitle(
        f"Milliseconds a pass, and how many times longer than sparse_ovs in the case's precision   "
        f"({machine['cpu']}, {machine['isa']})",
        fontsize=11,
        color=_INK,
    )
    figure.savefig(path, dpi=130)


def _panel(axis: Any, configuration: Configuration, measurement: Measurement, most: int) -> None:
    timings = measurement.timings
    ran = sorted(measurement.samples, key=timings.median)
    failed = [name for name in measurement.contestants if name not in measurement.samples]
    longest = max((timings.median(name) for name in ran), default=1.0)
    for place, name in enumerate(ran):
        ours = CONTESTANTS[name].ours
        ms = timings.median(name)
        axis.barh(place, ms, 0.72, color=_OURS if ours else _PEER)
        text = f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.1f} ms"
        if name != configuration.ours and configuration.ours in ran:
            ratio = timings.ratio(name, configuration.ours)
            text += f"   {ratio.median:.2f}x"
        weight = "bold" if ours else "normal"
        axis.text(
            ms + longest * 0.012,
            place,
            text,
            va="center",
            fontsize=8.5,
            color=_INK,
            fontweight=weight,
        )
    for place, name in enumerate(failed, len(ran)):
        reason = measurement.failures.get(name, "not run")
        axis.text(0, place, f" {reason[:60]}", va="center", fontsize=7.5, color="#b3261e")
    names = [*ran, *failed]
    axis.set_yticks(range(len(names)), [CONTESTANTS[n].label for n in names], fontsize=8.5)
    for label, name in zip(axis.get_yticklabels(), names, strict=True):
        ours = CONTESTANTS[name].ours
        label.set_color(_OURS if ours else _INK)
        label.set_fontweight("bold" if ours else "normal")
    # The same bar height in all panels of a line.
    axis.set_ylim(most - 0.4, -0.6)
    axis.set_xlim(0, longest * 1.27)
    axis.set_title(str(configuration), fontsize=9.5, loc="left", color=_INK)
    axis.tick_params(length=0, labelsize=8.5)
    axis.tick_params(axis="x", labelbottom=False)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.spines["left"].set_color(_FAINT)


def draw_curves(results: Sequence[Result], path: Path) -> None:
    """One panel a size, batch and thread count: ratio to the best dense peer over density."""
    from matplotlib.figure import Figure

    panels: dict[tuple[Any, ...], dict[tuple[str, str], list[Result]]] = {}
    for result in results:
        c = result.row.configuration
        if result.ratio is not None and len(result.row.against) > 1:
            lines = panels.setdefault((c.size, c.batch, c.threads), {})
            lines.setdefault((c.profile, c.pattern), []).append(result)
    if not panels:
        return
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.0 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    colours = {"unstructured": "#1b8a5a", "block4x1": "#2f5d9b"}
    for axis, (key, lines) in zip(axes.flat, panels.items(), strict=False):
        for (profile, pattern), line in lines.items():
            line = sorted(line, key=lambda r: r.row.configuration.density)
            densities = [r.row.configuration.density for r in line]
            ratios = [r.ratio for r in line if r.ratio is not None]
            colour = colours.get(pattern, _FAINT)
            dash = "-" if profile == "uniform" else "--"
            label = f"{pattern}, {profile}"
            axis.plot(densities, [r.median for r in ratios], dash, color=colour, label=label)
            low, high = [r.low for r in ratios], [r.high for r in ratios]
            axis.fill_between(densities, low, high, color=colour, alpha=0.15, linewidth=0)
        (height, width), batch, threads = key
        axis.axhline(1, color=_FAINT, linewidth=0.8)
        plural = "s" if threads > 1 else ""
        axis.set_title(
            f"{height}x{width}, batch {batch}, {threads} thread{plural}", fontsize=9, color=_INK
        )
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xscale("log")
        axis.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
        axis.minorticks_off()
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel("density", fontsize=9)
    figure.supylabel("times faster than the best dense peer", fontsize=9)
    figure.savefig(path, dpi=130)
