"""sparse-ovs data: what is in a dataset, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.data import DATASETS, SegmentationDataset, open_dataset
from sparse_ovs.data.check import CheckReport
from sparse_ovs.data.check import check as check_dataset
from sparse_ovs.data.emoji.packages import fetch as fetch_packages
from sparse_ovs.data.emoji.sprites import draw_sprites

data = typer.Typer(no_args_is_help=True, help="Datasets: see what is there and what is wrong.")

_MANY = 20  # unknown ids and unreadable files that are listed


@data.command()
def check(
    dataset: Annotated[str, typer.Option(help=", ".join(DATASETS))],
    root: Annotated[
        Path | None,
        typer.Argument(
            help="folder of the datasets, or of this one; default: $DETECTRON2_DATASETS, ./datasets"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="val or train; scenes, emoji: see the docs")] = "val",
    limit: Annotated[int | None, typer.Option(help="images at most", min=1)] = None,
    names: Annotated[Path | None, typer.Option(help="other class names, one a line")] = None,
    table: Annotated[Path | None, typer.Option(help="ade847: ids of the 847 classes")] = None,
) -> None:
    """Read a whole dataset: counts, label histogram, unknown ids, files that cannot be read.

    Exits with 1 where something is wrong. `sparse-ovs data check datasets --dataset ade150`
    """
    options: dict[str, Any] = {} if table is None else {"table": table}
    with progress(f"open {dataset}") as say:
        opened = open_dataset(dataset, root, split, names=names, **options)
        report = check_dataset(
            opened, limit, lambda done, total: say(f"{dataset}: image {done} of {total}")
        )
    console = wide(out)
    console.print(_counts(opened, report))
    console.print(_histogram(opened, report))
    _print_wrongs(report)
    if not report.good:
        raise typer.Exit(1)


@data.command()
def fetch(
    what: Annotated[str, typer.Argument(help="emoji")],
    source: Annotated[
        Path | None, typer.Option("--from", help="a folder of npm tarballs; default: npm is asked")
    ] = None,
) -> None:
    """Fetch what a made dataset is made of, and draw it, once. `sparse-ovs data fetch emoji`"""
    if what != "emoji":
        raise ValueError(f"expected emoji, got {what!r}")
    with progress("fetch emoji") as say:
        folder = fetch_packages(source, say=say)
        pictures = draw_sprites(say)
    out.print(f"emoji packages: {folder}", markup=False, soft_wrap=True)
    out.print(f"pictures: {pictures}", markup=False, soft_wrap=True)


def _counts(dataset: SegmentationDataset, report: CheckReport) -> Table:
    known = DATASETS[dataset.name]
    table = Table(title=known.title, title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    whole = "" if known.images is None else f" (all of val: {known.images:,})"
    counted = int(report.pixels.sum())
    table.add_row("images", f"{len(dataset):,}{whole}")
    table.add_row("read", f"{report.images:,}")
    table.add_row("classes", f"{len(dataset.classes):,}")
    table.add_row("of these in no image", f"{int((report.images_with == 0).sum()):,}")
    table.add_row("labelled pixels", f"{counted:,}")
    table.add_row("ignored pixels", f"{report.ignored:,}")
    table.add_row("unknown ids", f"{len(report.unknown):,}")
    table.add_row("unreadable", f"{len(report.unreadable):,}")
    return table


def _histogram(dataset: SegmentationDataset, report: CheckReport) -> Table:
    table = Table(title="classes", title_justify="left")
    for name in ("class", "images", "pixels", "share"):
        table.add_column(name, justify="right")
    table.add_column("name")
    total = max(1, int(report.pixels.sum()))
    for k, name in enumerate(dataset.classes):
        if not report.images_with[k]:
            continue
        pixels = int(report.pixels[k])
        share = f"{pixels / total:.2%}"
        table.add_row(str(k), f"{int(report.images_with[k]):,}", f"{pixels:,}", share, name)
    return table


def _print_wrongs(report: CheckReport) -> None:
    for raw, pixels in list(report.unknown.items())[:_MANY]:
        _wrong(f"unknown id {raw}: {pixels:,} pixels, first in {report.unknown_in[raw]}")
    for name, reason in list(report.unreadable.items())[:_MANY]:
        _wrong(f"unreadable {name}: {reason}")
    more = max(0, len(report.unknown) - _MANY) + max(0, len(report.unreadable) - _MANY)
    if more:
        _wrong(f"and {more:,} more")


def _wrong(line: str) -> None:
    err.print(line, style="red", markup=False, soft_wrap=True)
