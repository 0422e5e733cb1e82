"""Where a predictor's time goes: stages of several contestants, in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

TOTAL = "total"
"""What all stages of an image take together."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds: the median, and what 90 of 100 stay below (interpolated)."""

    p50: float
    p90: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Latency:
        """Of one sample or more."""
        return cls(median(samples), float(np.quantile(samples, 0.9)))


@dataclass(frozen=True)
class Contestant:
    """A way to do one image.

    Attributes:
        stages: by name, in order; each is given what the one before it returned, the first None.
        warm_up: the large stages, without being timed.
    """

    stages: Mapping[str, Callable[[Any], Any]]
    warm_up: Callable[[], object]


def time_stages(
    contestants: Mapping[str, Contestant],
    rounds: int,
    on_step: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by contestant and stage, and TOTAL, one sample a round; who starts changes with
    the round. A turn is a pass that does not count, which finds its memory cold, and one that does.

    Args:
        on_step: called with a line of text after each round.
        clock: seconds.
    """
    samples: dict[str, dict[str, list[float]]] = {
        name: {stage: [] for stage in (*one.stages, TOTAL)} for name, one in contestants.items()
    }
    names = list(contestants)
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            contestants[name].warm_up()
            value, marks = None, [clock()]
            for run in contestants[name].stages.values():
                value = run(value)
                marks.append(clock())
            for stage, start, end in zip(contestants[name].stages, marks, marks[1:], strict=False):
                samples[name][stage].append((end - start) * 1e3)
            samples[name][TOTAL].append((marks[-1] - marks[0]) * 1e3)
        on_step(f"time {rounds} rounds: {index + 1} done")
    return samples
