"""Interleaved timing: a drifting clock or a busy neighbour hits all contestants alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter


@dataclass(frozen=True)
class Ratio:
    """A ratio of two times: the median over the rounds, and the quartiles as its spread."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Timings:
    """Milliseconds by contestant, one sample a round."""

    samples: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Median of one contestant, in ms."""
        return median(self.samples[name])

    def fastest(self, names: list[str]) -> str:
        """The contestant among `names` with the lowest median."""
        return min(names, key=self.median)

    def ratio(self, slow: str, fast: str) -> Ratio:
        """How many times longer `slow` takes than `fast`, round by round."""
        ratios = [a / b for a, b in zip(self.samples[slow], self.samples[fast], strict=True)]
        if len(ratios) == 1:
            return Ratio(ratios[0], ratios[0], ratios[0])
        low, middle, high = quantiles(ratios, n=4, method="inclusive")
        return Ratio(middle, low, high)


def time_interleaved(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    on_round: Callable[[int], None] = lambda done: None,
    clock: Callable[[], float] = perf_counter,
) -> Timings:
    """Runs each contestant once untimed, then once in each round; who starts changes with the
    round.

    Args:
        runs: what to time, by name.
        rounds: samples of each, at least 1.
        on_round: called with the number of finished rounds.
        clock: seconds.

    Raises:
        ValueError: rounds below 1.
    """
    if rounds < 1:
        raise ValueError(f"expected at least 1 round, got {rounds}")
    for run in runs.values():
        run()
    samples: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            start = clock()
            runs[name]()
            samples[name].append((clock() - start) * 1e3)
        on_round(index + 1)
    return Timings(samples)
