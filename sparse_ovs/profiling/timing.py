"""Interleaved timing: a drifting clock or a busy neighbour hits all contestants alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter


@dataclass(frozen=True)
class Ratio:
    """A ratio of two times: the median over the rounds, and the quartiles as its spread."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Ratio:
        """Of the ratios of all rounds."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, middle, high = quantiles(samples, n=4, method="inclusive")
        return cls(middle, low, high)

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
        pairs = zip(self.samples[slow], self.samples[fast], strict=True)
        return Ratio.of([a / b for a, b in pairs])


def turned(names: Sequence[str], index: int) -> list[str]:
    """Contestants in the order of a round: another one begins each."""
    first = index % len(names)
    return [*names[first:], *names[:first]]


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
        for name in turned(names, index):
            start = clock()
            runs[name]()
            samples[name].append((clock() - start) * 1e3)
        on_round(index + 1)
    return Timings(samples)
