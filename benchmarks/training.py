"""What sparse kernels and frozen layers save of a training step: CLIP RN50's trunk, interleaved.

python benchmarks/training.py [--size 256] [--batch 4] [--threads 2] [--rounds 9] [--arms A:B:...]

A step is forward, loss, backward and SGD with momentum. Every arm is compared with the same model
dense in torch, channels_last, its weights multiplied by the masks after each step: the cheapest way
to keep them sparse there. Ratios are of the steps of one round, median and quartiles. Peak memory
is that of a process of its own for each arm, without what the imports took.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from sparse_ovs import _native, set_num_threads
from sparse_ovs.profiling.timing import time_interleaved
from sparse_ovs.reproduce.steps import BASELINE, STEP_ARMS, TrainingStep


def peak_mb() -> float:
    """Most memory that this process ever held, in MB. The kernel's other figure, ru_maxrss, would
    take in what the process that started this one held."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def measured_peak(name: str, options: argparse.Namespace) -> float:
    """MB that three steps of an arm take at most, imports not counted, in a process of its own."""
    numbers = [f"--{key}={getattr(options, key)}" for key in ("size", "batch", "threads")]
    command = [sys.executable, __file__, "--peak-of", name, *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Prints a table: for each arm, its time, how many times as fast it is, its memory."""
    options = _options()
    torch.set_num_threads(options.threads)
    set_num_threads(options.threads)
    if options.peak_of:
        before = peak_mb()
        step = TrainingStep(options.peak_of, options.size, options.batch)
        for _ in range(3):
            step()
        print(peak_mb() - before)
        return
    names = [BASELINE, *(n for n in options.arms if n != BASELINE)]
    arms: dict[str, Callable[[], object]] = {
        name: TrainingStep(name, options.size, options.batch) for name in names
    }
    times = time_interleaved(arms, options.rounds)
    console = Console(width=None if os.isatty(1) else 120)
    table = Table(
        title=f"RN50 trunk, {options.size}x{options.size}, batch {options.batch}, threads: "
        f"{options.threads}, {_native.cpu_name()} ({_native.isa()}), {options.rounds} rounds"
    )
    for head in ("arm", "ms a step", "times as fast", "peak MB"):
        table.add_column(head, justify="left" if head == "arm" else "right")
    for name in names:
        ratio = "" if name == BASELINE else str(times.ratio(BASELINE, name))
        peak = f"{measured_peak(name, options):.0f}" if options.memory else ""
        table.add_row(name, f"{times.median(name):.0f}", ratio, peak)
    console.print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--arms",
        type=lambda text: text.split(":"),
        default=list(STEP_ARMS),
        help="separated by ':'",
    )
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--peak-of", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.arms if name not in STEP_ARMS]:
        parser.error(f"expected arms among {', '.join(STEP_ARMS)}, got {unknown[0]}")
    return options


if __name__ == "__main__":
    main()
