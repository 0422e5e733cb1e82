"""Puts the commands together, and turns errors into one line."""

from __future__ import annotations

import sys

import typer

from sparse_ovs.cli import (
    alpha,
    bench,
    compare,
    data,
    demo,
    eval,
    info,
    profile,
    prune,
    reproduce,
    segment,
    train,
)

app = typer.Typer(
    name="sparse-ovs",
    help="Pruned CLIP image encoders that really run faster. "
    "Start with `sparse-ovs info`, then `sparse-ovs profile RN50 --density 0.1 --size 640`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("info")(info.info)
app.command("profile")(profile.profile)
app.command("bench")(bench.bench)
app.command("prune")(prune.prune)
app.command("compare")(compare.compare)
app.command("alpha")(alpha.alpha)
app.command("train")(train.train)
app.command("eval")(eval.evaluate_command)
app.add_typer(data.data, name="data")
app.command("reproduce")(reproduce.reproduce)
app.command("segment")(segment.segment)
app.command("demo")(demo.demo)


def main() -> None:
    """Runs the command line; exits with 1 and one line on stderr where something is wrong."""
    try:
        app()
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        lines = str(error).strip().splitlines()
        print(f"error: {lines[0] if lines else type(error).__name__}", file=sys.stderr)
        sys.exit(1)
