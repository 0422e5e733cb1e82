"""Compares two builds of sparse_ovs: whether outputs agree to the bit, and which one is faster.

python -m pip install --no-deps --target build/before .      # in a checkout of the older commit
python benchmarks/compare_builds.py build/before .venv/bin/python

Both run the same weights and pixels, made by numpy, untuned. Exits with 1 where a bit differs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from time import sleep
from typing import Annotated, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from build_runs.builds import Case, start
from peer_runs.worker_process import WorkerProcess

PATTERNS = ("unstructured", "block4x1", "n:m")
# Two sizes of each model, of which a ViT's second one resamples its positions.
SIZES = {
    "RN50": ((224, 224), (320, 416)),
    "ViT-B-16": ((224, 224), (256, 208)),
    "convnext_base": ((224, 224), (288, 256)),
}
_OTHER_SIZES = ((64, 64), (96, 72))
RACES = (("RN50", 640), ("ViT-B-16", 224))
# A turn is long enough for the clock, and for caches to be won back from the other build.
_TURN_MS = 300
# After a turn, spinning threads go to sleep.
_SETTLE_S = 0.05

console = Console(width=120 if not sys.stdout.isatty() else None)
status = Console(stderr=True)
Pair = Sequence[WorkerProcess]
T = TypeVar("T")


def compare_builds(
    old: Annotated[Path, typer.Argument(help="a folder with sparse_ovs in it, or a Python")],
    new: Annotated[Path, typer.Argument(help="the other build")],
    bits: Annotated[bool, typer.Option("--bits", help="compare outputs alone")] = False,
    speed: Annotated[bool, typer.Option("--speed", help="race alone")] = False,
    models: Annotated[
        str | None, typer.Option(metavar="A,B", help=f"instead of {', '.join(SIZES)}")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="turns of each build in a race")] = 15,
) -> None:
    """Compare two builds of sparse_ovs: outputs to the bit, then speed in turns."""
    wanted = None if models is None else models.split(",")
    equal = True
    with tempfile.TemporaryDirectory() as folder:
        if bits or not speed:
            equal = _compare_bits(old, new, wanted or list(SIZES), Path(folder))
        if speed or not bits:
            races = [race for race in RACES if wanted is None or race[0] in wanted]
            _race(old, new, races, rounds, Path(folder))
    raise typer.Exit(0 if equal else 1)


def _compare_bits(old: Path, new: Path, models: Sequence[str], folder: Path) -> bool:
    table = Table("model", "pattern", "density", "size", "threads", "outputs", "bits")
    equal = True
    for model in models:
        with ExitStack() as stack, status.status("") as line:
            # Of one model at a time: an encoder and its plans take gigabytes.
            pair = _start_both(old, new, 2, folder, stack)
            sizes = SIZES.get(model, _OTHER_SIZES)
            for pattern, density, size, threads in product(PATTERNS, (0.1, 0.5), sizes, (1, 2)):
                line.update(f"{model} {pattern} {density} {size[0]}x{size[1]}, threads: {threads}")
                case = Case(model, pattern, density, (1, 3, *size), threads)
                table.caption = _load_both(pair, case)
                outputs, verdict = _outputs_of_both(pair, folder)
                equal = equal and verdict == "equal"
                about = (model, pattern, f"{density}", f"{size[0]}x{size[1]}", f"{threads}")
                table.add_row(*about, f"{outputs}", verdict)
    console.print(table)
    return equal


def _outputs_of_both(pair: Pair, folder: Path) -> tuple[int, str]:
    """How many outputs there are, and "equal" or how they differ."""
    paths = [folder / "old.npz", folder / "new.npz"]

    _both(lambda worker: worker.warm(1), pair)
    for worker, path in zip(pair, paths, strict=True):
        worker.outputs(path)
    with np.load(paths[0]) as ours, np.load(paths[1]) as theirs:
        if ours.files != theirs.files:
            return len(ours.files), f"expected {len(ours.files)} outputs, got {len(theirs.files)}"
        differ = 0
        for name in ours.files:
            a, b = ours[name], theirs[name]
            if not np.isfinite(a).all() or not a.any():
                return len(ours.files), "expected numbers, got none"
            if a.shape != b.shape:
                return len(ours.files), f"expected {a.shape}, got {b.shape}"
            differ += int((a.view(np.uint32) != b.view(np.uint32)).sum())
        return len(ours.files), f"{differ} values differ" if differ else "equal"


def _race(
    old: Path, new: Path, races: Sequence[tuple[str, int]], rounds: int, folder: Path
) -> None:
    table = Table("model", "size", "threads", "old ms", "new ms")
    for name in ("new / old: 25 %", "median", "75 %", "idle CPU"):
        table.add_column(name, justify="right")
    for (model, size), threads in product(races, (1, 2)):
        with ExitStack() as stack, status.status("") as line:
            pair = _start_both(old, new, threads, folder, stack)
            line.update(f"load {model}")
            case = Case(model, "unstructured", 0.1, (1, 3, size, size), threads)
            table.caption = _load_both(pair, case)
            passes = max(1, round(_TURN_MS / min(worker.warm(3) for worker in pair)))
            samples: tuple[list[float], list[float]] = ([], [])
            idle = 0.0
            for index in range(rounds):
                line.update(f"{model}, threads: {threads}, round {index + 1} of {rounds}")
                for which in (0, 1) if index % 2 == 0 else (1, 0):
                    sleep(_SETTLE_S)
                    before = pair[1 - which].cpu_seconds()
                    samples[which].append(pair[which].run(passes))
                    idle += pair[1 - which].cpu_seconds() - before
        ratios = [after / before for before, after in zip(*samples, strict=True)]
        low, middle, high = quantiles(ratios, n=4, method="inclusive")
        times = [f"{median(of_one):.2f}" for of_one in samples]
        shown = [f"{number:.3f}" for number in (low, middle, high)]
        table.add_row(model, f"{size}", f"{threads}", *times, *shown, f"{idle:.2f} s")
    console.print(table)


def _start_both(
    old: Path, new: Path, threads: int, folder: Path, stack: ExitStack
) -> list[WorkerProcess]:
    threads = min(threads, len(os.sched_getaffinity(0)))
    return [
        stack.enter_context(start(build, threads, folder / f"{name}.log"))
        for name, build in (("old", old), ("new", new))
    ]


def _both(ask: Callable[[WorkerProcess], T], pair: Pair) -> list[T]:
    """What both workers answer, asked at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(ask, pair))


def _load_both(pair: Pair, case: Case) -> str:
    """Which build is which, and what they run on."""
    facts = _both(lambda worker: worker.load(case.job()), pair)
    return "\n".join(
        f"{name}: {f['place']}, torch {f['torch']}, {f['kernels']}"
        for name, f in zip(("old", "new"), facts, strict=True)
    )


if __name__ == "__main__":
    typer.run(compare_builds)
