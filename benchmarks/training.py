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
from torch import Tensor

from sparse_ovs import _native, create_backbone, densify, set_num_threads
from sparse_ovs.nn import SparseConv2d
from sparse_ovs.profiling.timing import time_interleaved
from sparse_ovs.spectral import freeze
from sparse_ovs.spectral.controls import AUTHORS

BASELINE = "dense"
# Arm: profile of densities, run by sparse kernels, the authors' layers frozen with their norms.
ARMS = {
    BASELINE: ("uniform", False, False),
    "dense, frozen": ("uniform", False, True),
    "sparse": ("uniform", True, False),
    "sparse, frozen": ("uniform", True, True),
    "trained profile": ("trained", True, False),
    "trained profile, frozen": ("trained", True, True),
}


class Arm:
    """A model and its optimiser; calling it takes one step."""

    def __init__(self, name: str, size: int, batch: int) -> None:
        profile, sparse, frozen = ARMS[name]
        torch.manual_seed(0)
        self.model = create_backbone("RN50", density=0.1, profile=profile, fold_bn="eval")
        self.x = torch.randn(batch, 3, size, size)
        self.kept: list[tuple[Tensor, Tensor]] = []
        if not sparse:
            layers = [m for m in self.model.modules() if isinstance(m, SparseConv2d)]
            self.kept = [(layer.weight, layer.mask.float()) for layer in layers]
            densify(self.model)
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.model.train()
        if frozen:
            freeze(self.model, AUTHORS, norms=True)
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.SGD(learning, lr=1e-3, momentum=0.9)
        # What is frozen needs no mask.
        self.kept = [(weight, mask) for weight, mask in self.kept if weight.requires_grad]

    def __call__(self) -> None:
        self.optimiser.zero_grad()
        loss = torch.stack([y.square().mean() for y in self.model(self.x)]).sum()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            for weight, mask in self.kept:
                weight.mul_(mask)


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
        step = Arm(options.peak_of, options.size, options.batch)
        for _ in range(3):
            step()
        print(peak_mb() - before)
        return
    names = [BASELINE, *(n for n in options.arms if n != BASELINE)]
    arms: dict[str, Callable[[], object]] = {
        name: Arm(name, options.size, options.batch) for name in names
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
        "--arms", type=lambda text: text.split(":"), default=list(ARMS), help="separated by ':'"
    )
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--peak-of", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.arms if name not in ARMS]:
        parser.error(f"expected arms among {', '.join(ARMS)}, got {unknown[0]}")
    return options


if __name__ == "__main__":
    main()
