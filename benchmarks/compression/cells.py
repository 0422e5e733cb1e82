"""Cells of a table: each is made once and kept as JSON, so that a killed run goes on from there."""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter, process_time
from typing import Any

import torch

from sparse_ovs import _native
from sparse_ovs.formats.files import replace_file

Cell = dict[str, Any]


def make_cell(folder: Path, name: str, make: Callable[[], Cell]) -> Cell:
    """A cell from its file, or made and written, with what it took: wall-clock seconds, this
    process's CPU seconds, the most memory that it has held so far."""
    path = folder / f"{name}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        start, start_cpu = perf_counter(), process_time()
        cell = make()
        cell |= {"seconds": perf_counter() - start, "cpu_seconds": process_time() - start_cpu}
        cell["peak_gb"] = 1024e-9 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{name}: {cell}", flush=True)
        replace_file(path, json.dumps(cell, indent=1).encode())
    found: Cell = json.loads(path.read_text())
    return found


def write_table(path: Path, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in markdown, with the machine above it."""
    lines = [f"{title}; {machine()}.", "", _row(head), _row(["---"] * len(head)), *map(_row, rows)]
    text = "\n".join(lines) + "\n"
    replace_file(path, text.encode())
    print(text)


def machine() -> str:
    """The CPU and the threads, in words."""
    threads = torch.get_num_threads()
    return f"{_native.cpu_name()} ({_native.isa()}), {threads} thread{'s' if threads > 1 else ''}"


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, and the standard deviation where there are several."""
    after = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{after}"


def binomial_error(share: float, count: int) -> float:
    """Standard deviation of a share of so many independent draws."""
    return math.sqrt(share * (1 - share) / count)


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
