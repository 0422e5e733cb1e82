"""How many units remain after each round of pruning, in whole numbers throughout."""

from __future__ import annotations

from fractions import Fraction

from sparse_ovs.patterns import check_density, kept_count


def one_shot(total: int, density: float) -> list[int]:
    """One round: floor(density * total) units remain.

    Args:
        total: units at the start (see `unit_counts`).
        density: kept fraction, 0 < density <= 1.
    """
    _check_total(total)
    return [kept_count(density, total)]


def iterative(
    total: int,
    *,
    rounds: int | None = None,
    density: float | None = None,
    fraction: float = 0.1,
) -> list[int]:
    """Each round removes floor(fraction * what remains), as iterative magnitude pruning does.

    With `rounds` the schedule ends where these rounds lead: 22 rounds of 0.1 leave 0.9^22 = 0.0985
    of the units, 21 rounds 0.1094. With `density` it takes as many rounds as it needs, and the last
    one removes only as many units as leave floor(density * total).

    Args:
        total: units at the start.
        rounds: at least 1; or
        density: kept fraction to end with, 0 < density <= 1.
        fraction: of the remaining units, 0 < fraction < 1; 0.1 means exactly one tenth.

    Returns:
        Units that remain after each round, never rising. With `rounds`, a round of so few units
        that the floor is 0 removes none.

    Raises:
        ValueError, TypeError: an argument out of its range, or not exactly one of rounds and
            density.
    """
    _check_total(total)
    if (rounds is None) == (density is None):
        raise ValueError(f"expected rounds or a density, got {rounds!r} and {density!r}")
    if not 0 < fraction < 1:
        raise ValueError(f"expected a fraction with 0 < fraction < 1, got {fraction!r}")
    # The decimal that was written, not the nearest binary number.
    part = Fraction(repr(float(fraction)))

    def after_round(remaining: int) -> int:
        return remaining - int(part * remaining)

    if rounds is not None:
        _check_rounds(rounds)
        counts = [after_round(total)]
        while len(counts) < rounds:
            counts.append(after_round(counts[-1]))
        return counts
    assert density is not None
    target = kept_count(density, total)
    counts = [total]
    while counts[-1] > target:
        remaining = after_round(counts[-1])
        # Few units: where a round would remove none, the last one ends it.
        counts.append(target if remaining == counts[-1] else max(remaining, target))
    return counts[1:] or [total]


def gradual(total: int, density: float, rounds: int) -> list[int]:
    """Fast at first, slow at the end: the cubic schedule of Zhu and Gupta 2017 (eq. 1), from no
    sparsity on.

    Their sparsity s_t = s_f - s_f * (1 - t / n)^3 after round t of n is, in units, floor(kept +
    (total - kept) * (1 - t / n)^3) that remain, kept = floor(density * total) after the last round.

    Args:
        total: units at the start.
        density: kept fraction to end with, 0 < density <= 1.
        rounds: n, at least 1; one round is `one_shot`.

    Returns:
        Units that remain after each round, never rising.
    """
    _check_total(total)
    _check_rounds(rounds)
    kept = kept_count(check_density(density), total)
    return [
        kept + (total - kept) * (rounds - done) ** 3 // rounds**3 for done in range(1, rounds + 1)
    ]


def _check_total(total: int) -> None:
    if isinstance(total, bool) or not isinstance(total, int):
        raise TypeError(f"expected a total as an integer, got {total!r}")
    if total < 1:
        raise ValueError(f"expected a total of at least 1, got {total}")


def _check_rounds(rounds: int) -> None:
    if isinstance(rounds, bool) or not isinstance(rounds, int):
        raise TypeError(f"expected rounds as an integer, got {rounds!r}")
    if rounds < 1:
        raise ValueError(f"expected at least 1 round, got {rounds}")
