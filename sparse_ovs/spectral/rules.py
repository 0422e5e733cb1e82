"""Rules that choose what to freeze by a score: small is well trained, and is frozen first.

All take scores by name (of layers, or of the groups of `levels`) and return the names to freeze.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

Scores = Mapping[str, float]


def below_median(scores: Scores) -> set[str]:
    """Strictly below the median: 27 of 55 (OpenTrans, arXiv 2404.07448)."""
    middle = median(_checked(scores).values())
    return {name for name, score in scores.items() if score < middle}


def above_median(scores: Scores) -> set[str]:
    """Strictly above the median: the reverse control, alpha* of OpenTrans."""
    middle = median(_checked(scores).values())
    return {name for name, score in scores.items() if score > middle}


def smallest(scores: Scores, ratio: float) -> set[str]:
    """The floor(ratio * count) smallest; ties by order.

    Raises:
        ValueError: a ratio outside 0..1.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"expected a ratio from 0 to 1, got {ratio!r}")
    order = sorted(_checked(scores), key=lambda name: scores[name])
    return set(order[: int(ratio * len(order) + 1e-9)])


def below_largest_gap(scores: Scores, margin: float = 0.25) -> set[str]:
    """Below the widest gap between neighbours in the sorted scores; of equal gaps the lowest.

    Args:
        margin: the fraction of the names that is frozen, and that is trained, at least: a single
            outlier has the widest gap beside it and would else decide.

    Raises:
        ValueError: a margin outside 0..0.5, or fewer than two names.
    """
    if not 0 <= margin <= 0.5:
        raise ValueError(f"expected a margin from 0 to 0.5, got {margin!r}")
    order = sorted(_checked(scores), key=lambda name: scores[name])
    if len(order) < 2:
        raise ValueError("expected at least two scores to find a gap between, got one")
    least = min(max(1, int(margin * len(order))), len(order) // 2)
    cuts = range(least, len(order) - least + 1)
    cut = max(cuts, key=lambda index: scores[order[index]] - scores[order[index - 1]])
    return set(order[:cut])


def within_budget(scores: Scores, macs: Mapping[str, float], trained: float) -> set[str]:
    """The cheapest set to freeze so that at most a fraction of the MACs is trained.

    A name costs its rank among the scores, 1 for the smallest (ties share their mean): freezing a
    heavy tail is cheap. The smallest sum of ranks is found exactly; of equal sums, the one that
    freezes most MACs.

    Args:
        macs: of each name, in any unit.
        trained: largest fraction of the names' MACs together whose weights still learn, 0 to 1.

    Raises:
        ValueError: a fraction outside 0..1, or names without MACs.
    """
    if not 0 <= trained <= 1:
        raise ValueError(f"expected a fraction of MACs from 0 to 1, got {trained!r}")
    if missing := [name for name in _checked(scores) if name not in macs]:
        raise ValueError(f"expected MACs of every layer, got none of {', '.join(missing)}")
    total = sum(macs[name] for name in scores)
    wanted = total * (1 - trained) - 1e-9 * total
    # most[c]: (MACs, names) of the set with twice the sum of ranks c that freezes most; ranks
    # doubled are whole numbers.
    most: dict[int, tuple[float, frozenset[str]]] = {0: (0.0, frozenset())}
    for name, rank in ranks(scores).items():
        step = round(2 * rank)
        for cost, (frozen, names) in list(most.items()):
            candidate = (frozen + macs[name], names | {name})
            if cost + step not in most or candidate[0] > most[cost + step][0]:
                most[cost + step] = candidate
    cheapest = min(cost for cost, (frozen, _) in most.items() if frozen >= wanted)
    return set(most[cheapest][1])


def ranks(scores: Scores) -> dict[str, float]:
    """1 for the smallest; equal scores share their mean rank."""
    order = sorted(_checked(scores).values())
    first: dict[float, int] = {}
    last: dict[float, int] = {}
    for place, score in enumerate(order, 1):
        first.setdefault(score, place)
        last[score] = place
    return {name: (first[score] + last[score]) / 2 for name, score in scores.items()}


def ensemble(metrics: Mapping[str, Scores]) -> dict[str, float]:
    """Mean rank over several metrics of the same names.

    Raises:
        ValueError: no metrics, or metrics of different names.
    """
    if not metrics:
        raise ValueError("expected at least one metric, got none")
    ranked = [ranks(scores) for scores in metrics.values()]
    if any(set(one) != set(ranked[0]) for one in ranked):
        raise ValueError("expected metrics of the same layers, got different ones")
    return {name: sum(one[name] for one in ranked) / len(ranked) for name in ranked[0]}


def _checked(scores: Scores) -> Scores:
    if not scores:
        raise ValueError("expected at least one score, got none")
    if odd := [name for name, score in scores.items() if score != score]:
        raise ValueError(f"expected scores that are numbers, got NaN for {', '.join(odd)}")
    return scores
