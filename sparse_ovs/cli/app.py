"""Puts the commands together, and turns errors into one line."""

from __future__ import annotations

import sys

import typer

from sparse_ovs.cli.later import add_later

app = typer.Typer(
    name="sparse-ovs",
    help="Pruned CLIP image encoders that really run faster. "
    "Start with `sparse-ovs info`, then `sparse-ovs profile RN50 --density 0.1 --size 640`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# What each command does, as its own help begins.
COMMANDS = {
    "info": "Say versions, instruction set, threads, GPU, and which kernels are available or why "
    "not.",
    "profile": "Time an encoder's trunk, pruned and dense, side by side; with --head a whole "
    "segmenter.",
    "bench": "Time every kind of layer of an encoder, and the whole of it, against dense torch.",
    "prune": "Find a sparse subnetwork: masks that any framework with this encoder can use.",
    "quantize": "Take the scales of an encoder in int8 from images, and tell the error that each "
    "layer adds.",
    "compress": "Prune an encoder on a folder of photos, without training, and quantise it.",
    "compare": "Compare two encoders: cosines of their maps and embedding, MACs, bytes, latency.",
    "alpha": "Say how heavy-tailed every layer's spectrum is, and choose which layers to freeze.",
    "train": "Train by settings in TOML. A killed run goes on with --resume, to the same bits.",
    "eval": "Score a segmenter: mIoU, accuracies, and the whole protocol beside them.",
    "reproduce": "Re-run the paper's tables: transfer, fine-tuning with frozen layers, cost.",
    "segment": "Segment an image by classes in words.",
    "demo": "Compress CLIP RN50 as far as does no harm, and show masks before and after.",
    "data": "Datasets: see what is there and what is wrong.",
}
for _name, _summary in COMMANDS.items():
    add_later(app, _name, _summary)


def main() -> None:
    """Runs the command line; exits with 1 and one line on stderr where something is wrong."""
    try:
        app()
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        lines = str(error).strip().splitlines()
        print(f"error: {lines[0] if lines else type(error).__name__}", file=sys.stderr)
        sys.exit(1)
