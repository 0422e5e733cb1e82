"""sparse-ovs alpha: the tail of every layer's spectrum, and which layers to freeze by it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.options import ModelName, Pretrained, parse_size
from sparse_ovs.spectral import (
    CONTROLS,
    ESTIMATORS,
    METRICS,
    RULES,
    Selection,
    SpectralTable,
    analyse,
    choose,
    load_selection,
    save_selection,
    spectral_layers,
)
from sparse_ovs.spectral.choose import check_names
from sparse_ovs.spectral.estimators import find_estimator
from sparse_ovs.spectral.levels import LEVELS
from sparse_ovs.spectral.pictures import draw_selection
from sparse_ovs.spectral.spectrum_cache import cached_spectrum


def alpha(
    model: ModelName,
    pretrained: Pretrained = None,
    estimator: Annotated[str, typer.Option(help=f"of alpha: {', '.join(ESTIMATORS)}")] = "mid",
    select: Annotated[
        str,
        typer.Option(
            help=f"what to freeze, by a rule ({', '.join(RULES)}) or as a control "
            f"({', '.join(CONTROLS)})"
        ),
    ] = "median",
    metrics: Annotated[
        str,
        typer.Option(
            help=f"what rules go by, joined by mean rank where several: {','.join(METRICS)}"
        ),
    ] = "alpha",
    level: Annotated[str, typer.Option(help=f"what rules freeze: {', '.join(LEVELS)}")] = "layer",
    ratio: Annotated[float, typer.Option(help="of layers that `ratio` freezes")] = 0.5,
    budget_macs: Annotated[
        float, typer.Option(help="fraction of the MACs that `budget` trains at most")
    ] = 0.5,
    like: Annotated[
        Path | None,
        typer.Option(help="selection that random controls match; default: `median`"),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="of `random-macs`, as a fraction of the MACs")
    ] = 0.01,
    seed: Annotated[int, typer.Option(help="of random controls and random weights")] = 0,
    size: Annotated[
        str, typer.Option(help="pixels that MACs are for, S or HxW", metavar="S|HxW")
    ] = "512",
    device: Annotated[str, typer.Option(help="where spectra are computed")] = "cpu",
    out_file: Annotated[
        Path | None, typer.Option("--out", help="the selection (.json)", dir_okay=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw spectra, alpha and MACs here (.png, .svg)")
    ] = None,
) -> None:
    """Say how heavy-tailed every layer's spectrum is, and choose which layers to freeze.

    A heavy tail (small alpha) stands for a well trained layer, which may stay as it is.

    `sparse-ovs alpha RN50 --pretrained openai --out selection.json --plot alpha.png`

    `sparse-ovs alpha RN50 --pretrained openai --estimator farms --select budget --budget-macs 0.3`
    """
    height, width = parse_size(size)
    names = [metric.strip() for metric in metrics.split(",")]
    find_estimator(estimator)
    check_names(select, names, level)
    matched = None if like is None else load_selection(like)
    with progress(f"create {model}") as say:
        torch.manual_seed(seed)
        backbone = create_backbone(model, pretrained)
        example = torch.zeros(1, 3, height, width)

        def show(layer: str, done: int, every: int) -> None:
            say(f"spectra: {layer}, {done} of {every}")

        table = analyse(backbone, estimator, example, device, show)
    weights = pretrained or "random weights"
    selection = choose(
        table,
        select,
        f"{backbone.clip.name} {weights}, MACs at {height}x{width}",
        metrics=names,
        level=level,
        ratio=ratio,
        trained_macs=budget_macs,
        seed=seed,
        like=matched,
        tolerance=tolerance,
    )
    wide(out).print(_table(table, selection))
    macs = selection.frozen_macs
    out.print(
        f"{selection.method}: {len(selection.frozen)} of {len(selection.layers)} layers frozen, "
        f"{selection.frozen_weights:.1%} of the weights, {macs or 0.0:.1%} of the MACs"
    )
    if pretrained is None:
        out.print("RANDOM WEIGHTS: their spectra say nothing.", style="yellow")
    if out_file is not None:
        save_selection(out_file, selection)
        err.print(f"wrote {out_file}")
    if plot is not None:
        _draw(backbone, table, selection, plot)
        err.print(f"wrote {plot}")


def _table(table: SpectralTable, selection: Selection) -> Table:
    shown = Table(title=f"{selection.source}; alpha: {table.estimator}", title_justify="left")
    shown.add_column("layer", no_wrap=True)
    for name in (
        *("weight", "alpha", "D", "tail", "stable rank", "log norm", "entropy", "alpha-hat"),
        *("weights", "MACs"),
    ):
        shown.add_column(name, justify="right")
    shown.add_column("")
    for row, layer in zip(table.rows, selection.layers, strict=True):
        shown.add_row(
            row.name,
            "x".join(map(str, row.shape)),
            f"{row.alpha:.3f}",
            f"{row.fit_distance:.3f}",
            f"{row.tail} of {row.eigenvalues}",
            f"{row.stable_rank:.1f}",
            f"{row.log_spectral_norm:.2f}",
            f"{row.entropy:.3f}",
            f"{row.alpha_hat:.2f}",
            f"{row.weight_share:.2%}",
            "" if row.mac_share is None else f"{row.mac_share:.2%}",
            "frozen" if layer.frozen else "",
            style="blue" if layer.frozen else "",
        )
    return shown


def _draw(backbone: Backbone, table: SpectralTable, selection: Selection, path: Path) -> None:
    """With the spectra of the layers of smallest, middle and largest alpha."""
    how = ESTIMATORS[table.estimator]
    order = sorted(table.rows, key=lambda row: row.alpha)
    weights = {layer.name: layer.weight for layer in spectral_layers(backbone)}
    spectra = {}
    for row in (order[0], order[len(order) // 2], order[-1]):
        values = cached_spectrum(weights[row.name], windows=how.windows)
        spectra[row.name] = (values, how.fit(values))
    draw_selection(selection, spectra, path, f"{selection.source}; frozen: {selection.method}")
