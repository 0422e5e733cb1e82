"""One comparison: dense contestants and ours, each prepared, checked and timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs.profiling.bench.stopwatch import Stopwatch
from sparse_ovs.profiling.encoder import max_relative_error
from sparse_ovs.profiling.failures import in_a_line

OURS = "sparse"
Maps = Callable[[], list[Tensor]]


@dataclass(frozen=True)
class Outcome:
    """See `record.Row` for the fields."""

    dense_ms: dict[str, float | None]
    sparse_ms: float | None
    best: str | None
    speedup: tuple[float, float, float] | None
    max_rel_err: float | None
    problems: dict[str, str]


def contest(
    dense: Mapping[str, Callable[[], Maps]],
    ours: Callable[[], Maps],
    exact: Callable[[], list[Tensor]],
    stopwatch: Stopwatch,
    rounds: int,
) -> Outcome:
    """Compares; a contestant that cannot be built or run does not stop the others.

    Args:
        dense, ours: build the contestants: each gives a call that gives maps.
        exact: the maps in float32.
        stopwatch: of the device.
        rounds: samples of each.
    """
    problems: dict[str, str] = {}
    prepared: dict[str, Callable[[], object]] = {}
    error = None
    with torch.no_grad():
        for name, build in {**dense, OURS: ours}.items():
            try:
                run = build()
                if name == OURS:
                    error = max_relative_error(run(), exact())
                prepared[name] = stopwatch.prepare(run)
            except Exception as failure:  # compilers, drivers and captures fail in any way
                problems[name] = in_a_line(failure)
        timings = stopwatch.time(prepared, rounds) if prepared else None
    medians = {name: timings.median(name) for name in prepared} if timings else {}
    ran = [name for name in dense if name in medians]
    best = min(ran, key=medians.__getitem__) if ran else None
    speedup = None
    if timings and best and OURS in medians:
        ratio = timings.ratio(best, OURS)
        speedup = (ratio.median, ratio.low, ratio.high)
    return Outcome(
        {name: medians.get(name) for name in dense},
        medians.get(OURS),
        best,
        speedup,
        error,
        problems,
    )
