"""Small runs of compress, for tests that kill and resume them."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner

import sparse_ovs
from sparse_ovs.compression.state import RunState
from sparse_ovs.data import Scenes
from support.small_classifier import smooth_images
from support.small_encoders import Small
from support.small_runs import preload

preload("sparse_ovs.compression", "torch._dynamo")


def compress_small(folder: Path, reports: Connection | None = None) -> None:
    """An encoder of a few layers, from Python."""
    _report_results(folder, reports)
    torch.manual_seed(0)
    made = sparse_ovs.compress(
        Small(density=1.0).eval(),
        smooth_images(),
        density=0.4,
        precision="int8",
        allocation="loss",
        baselines=("eager",),
        folder=folder / "run",
    )
    made.save(folder)


def compress_tiny_clip(folder: Path, reports: Connection | None = None) -> None:
    """The CLIP that the package brings, from the shell, on the images beside the folder."""
    from sparse_ovs.cli.app import app

    _report_results(folder, reports)
    images = str(folder.parent / "images")
    how = ["--density", "0.3", "--precision", "int8", "--allocation", "loss", "--baseline", "eager"]
    given = ["--pretrained", "scenes", "--images", images, *how, "--out", str(folder)]
    result = CliRunner().invoke(app, ["compress", "scenes-RN50", *given])
    assert result.exit_code == 0, result.exception


def write_images(folder: Path) -> None:
    """Four scenes, for `compress_tiny_clip`."""
    folder.mkdir()
    scenes = Scenes("train", size=64, count=4)
    for number in range(len(scenes)):
        scenes[number].image.save(folder / f"{number}.png")


def _report_results(folder: Path, reports: Connection | None) -> None:
    """Sends how many results of the run lie there, before each that is asked for."""
    if reports is None:
        return
    torch.set_num_threads(1)

    def reported(find: Callable[..., Any]) -> Callable[..., Any]:
        def report_and_find(*arguments: Any) -> Any:
            reports.send(sum(path.is_file() for path in (folder / "run").rglob("*.*")))
            return find(*arguments)

        return report_and_find

    RunState.json = reported(RunState.json)  # type: ignore[method-assign]
    RunState.tensors = reported(RunState.tensors)  # type: ignore[method-assign]
