"""sparse-ovs train: a head, or a small CLIP, by settings in TOML."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sparse_ovs.cli.console import err, out
from sparse_ovs.loop import launched, progress_bar
from sparse_ovs.segmenter.files import FILE_NAME
from sparse_ovs.training import (
    ClipTraining,
    build_task,
    describe_task,
    find_recipe,
    override,
    read_toml,
    recipe_names,
    train_clip,
    train_segmenter,
)


def train(
    config: Annotated[
        str | None,
        typer.Argument(help="a TOML file, or a recipe; without one, the recipes are listed"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="for the log, checkpoints and the result")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="a setting, such as run.steps=100; may be repeated"),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="print all settings, with their meaning, and stop")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on where a run stopped")] = False,
) -> None:
    """Train by settings in TOML. A killed run goes on with --resume, to the same bits.

    In several processes: `accelerate launch -m sparse_ovs.cli train ...` on GPUs and over nodes,
    `torchrun --nproc-per-node 2 -m sparse_ovs.cli train ...` on CPUs. The batch is that of all of
    them together.

    `sparse-ovs train scenes-maskformer --show > mine.toml`

    `sparse-ovs train mine.toml --out runs/mine`
    """
    if config is None:
        out.print("recipes: " + ", ".join(recipe_names()))
        return
    path = find_recipe(config)
    settings = build_task(override(read_toml(path), changes or []))
    if show:
        out.print(describe_task(settings), markup=False, highlight=False, soft_wrap=True)
        return
    if folder is None:
        raise ValueError("expected --out with a folder for the run, got none")
    processes = launched()
    with progress_bar(err, f"train {path.stem}") as report:
        if isinstance(settings, ClipTraining):
            if processes.count > 1:
                raise ValueError("expected one process for task 'clip', got several")
            err.print(f"wrote {train_clip(settings, folder, resume, report)}")
            return
        made = train_segmenter(settings, folder, resume, report, processes)
    if processes.index == 0:
        err.print(f"wrote {made / FILE_NAME}")
        place = shlex.quote(str(made))
        out.print(f"sparse-ovs segment PHOTO --checkpoint {place} --vocab 'cat; dog'", markup=False)
