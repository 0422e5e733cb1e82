"""Compares sparse_ovs with the runtimes people use, on the same weights (`make peers`)."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from peer_runs import environments
from peer_runs.cases import INT8_TABLE, TABLE, Configuration, full_grid, group, select
from peer_runs.contestants import CONTESTANTS
from peer_runs.picture import draw_bars, draw_curves
from peer_runs.record import Measurement, write_atomically
from peer_runs.report import Result, console_table, evaluate, markdown
from peer_runs.runner import Runner
from sparse_ovs.cli.console import wide

_BUILD = Path(__file__).parents[1] / "build"
out_console, progress_console = Console(), Console(stderr=True)


def peers(
    full: Annotated[bool, typer.Option("--full", help="the whole grid; many hours")] = False,
    only: Annotated[
        str | None, typer.Option(metavar="GLOB", help="cases or configurations of this name")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="samples of each contestant")] = 9,
    peer: Annotated[
        str | None,
        typer.Option(
            "--peers",
            metavar="A,B",
            help=", ".join(name for name, c in CONTESTANTS.items() if not c.ours),
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is finished")] = False,
    out: Annotated[Path, typer.Option(help="folder for the report and the cache")] = (
        _BUILD / "peers"
    ),
) -> None:
    """Time the peers and sparse_ovs in turn; write peers.json, peers.md and peers.png.

    A configuration that was measured before with the same code, versions, machine, contestants
    and rounds is not measured again.
    """
    try:
        rows = select(full_grid() if full else (*TABLE, *INT8_TABLE), only)
        wanted = group(rows, None if peer is None else peer.split(","))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    measurements: dict[Configuration, Measurement] = {}
    with _progress() as progress:
        task = progress.add_task("", total=len(wanted))

        def on_step(text: str) -> None:
            progress.update(task, description=text)
            progress.refresh()

        names = {name for contestants in wanted.values() for name in contestants}
        built = environments.build(_BUILD, names, on_step)
        runner = Runner(out, built, rounds, fresh, on_step=on_step)
        pending = {c: n for c, n in wanted.items() if runner.finished(c, n) is None}
        for configuration, contestants in wanted.items():
            stored = (
                None if configuration in pending else runner.finished(configuration, contestants)
            )
            if stored is None:
                progress.console.print(f"{configuration}")
                stored = runner.measure(configuration, contestants)
                del pending[configuration]
                others = {c.weights_name for c in pending}
                if full and configuration.weights_name not in others:
                    runner.forget_files(configuration)
            measurements[configuration] = stored
            progress.advance(task)
    results = [evaluate(row, measurements[row.configuration]) for row in rows]
    _write(out, results, measurements, full)
    wide(out_console).print(console_table(results))
    for result in results:
        if result.note:
            out_console.print(f"{result.row.name}: {result.note}", style="yellow")
    out_console.print(f"Written: {out / 'peers.md'}, peers.json, peers.png")


def _progress() -> Progress:
    """Drawn only at each step: a spinner would run beside the contestants."""
    return Progress(
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=progress_console,
        auto_refresh=False,
        transient=True,
    )


def _write(
    out: Path,
    results: list[Result],
    measurements: dict[Configuration, Measurement],
    full: bool,
) -> None:
    now = datetime.now().astimezone()
    record = {
        "date": now.isoformat(timespec="seconds"),
        "rows": [result.to_dict() for result in results],
        "measurements": [m.to_dict() for m in measurements.values()],
    }
    write_atomically(out / "peers.json", json.dumps(record, indent=1) + "\n")
    write_atomically(out / "peers.md", markdown(results, measurements, f"{now:%Y-%m-%d}"))
    if full:
        draw_curves(results, out / "peers.png")
    else:
        draw_bars(measurements, out / "peers.png")


if __name__ == "__main__":
    typer.run(peers)
