"""Paired differences of arms, seed by seed: intervals, tests and their correction, power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

CHANCE = 0.05
"""Of telling apart, in a whole family of differences, what is the same."""
POWER = 0.8
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Paired:
    """A difference by the paired t test.

    Attributes:
        mean, deviation: of the seeds' differences; no deviation of one seed.
        half: of the interval that holds the true mean with 95 % confidence.
        p: chance of such a mean where there is no difference.
        seeds: how many.
    """

    mean: float
    deviation: float | None
    half: float | None
    p: float | None
    seeds: int


def paired(a: Sequence[float], b: Sequence[float]) -> Paired:
    """a - b, pair by pair.

    Raises:
        ValueError: no pairs, or values without a partner.
    """
    from scipy.stats import t  # slow to import

    if not a:
        raise ValueError("expected at least one pair, got none")
    apart = [x - y for x, y in zip(a, b, strict=True)]
    if len(apart) == 1:
        return Paired(apart[0], None, None, None, 1)
    middle, deviation = mean(apart), stdev(apart)
    error, freedom = deviation / len(apart) ** 0.5, len(apart) - 1
    half = float(t.ppf(1 - CHANCE / 2, freedom)) * error
    p = float(2 * t.sf(abs(middle) / error, freedom)) if error else float(middle == 0)
    return Paired(middle, deviation, half, p, len(apart))


def told_apart(differences: Sequence[Paired | None]) -> list[bool]:
    """Which differences of one family are told from zero: Holm's step-down procedure (Scand. J.
    Statist. 6, 1979) at CHANCE. None and single seeds never are, and count for nothing."""
    tested = sorted((d.p, place) for place, d in enumerate(differences) if d and d.p is not None)
    told = [False] * len(differences)
    for rank, (p, place) in enumerate(tested):
        if p * (len(tested) - rank) >= CHANCE:
            break
        told[place] = True
    return told


def seeds_needed(deviation: float, points: float = 1.0) -> int | None:
    """Fewest seeds with which the paired t test at CHANCE finds a true difference of so many points
    with a chance of POWER; None beyond a thousand.

    Args:
        deviation: of the seeds' differences, from a pilot.
    """
    from scipy.stats import nct, t

    if deviation == 0:
        return 2
    for seeds in range(2, _MOST_SEEDS + 1):
        least = t.ppf(1 - CHANCE / 2, seeds - 1)
        if nct.sf(least, seeds - 1, points / deviation * seeds**0.5) >= POWER:
            return seeds
    return None
