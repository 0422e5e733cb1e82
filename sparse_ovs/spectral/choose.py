"""From a table to a selection: one name for every rule and control."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparse_ovs.spectral import controls, rules
from sparse_ovs.spectral.levels import check_level, group_layers, group_means, group_sums
from sparse_ovs.spectral.selection import Selection, make_selection
from sparse_ovs.spectral.table import SpectralTable

METRICS = ("alpha", "stable_rank", "log_spectral_norm", "entropy", "alpha_hat")
RULES = ("median", "reverse", "ratio", "gap", "budget")
CONTROLS = ("random", "random-macs", "all-3x3", "none", "authors")


def choose(
    table: SpectralTable,
    select: str = "median",
    source: str = "",
    *,
    metrics: Sequence[str] = ("alpha",),
    level: str = "layer",
    ratio: float = 0.5,
    trained_macs: float = 0.5,
    seed: int = 0,
    like: Selection | None = None,
    tolerance: float = 0.01,
) -> Selection:
    """Selects what to freeze.

    Args:
        select: a rule: "median" (strictly below), "reverse" (strictly above), "ratio", "gap"
            (below the largest one in the middle half) or "budget" (the cheapest set within a MAC
            budget); or a control: "random" (by count), "random-macs" (by matched MACs), "all-3x3",
            "none", "authors".
        source: the encoder and its weights.
        metrics: what rules score layers by; several are joined by their mean ranks.
        level: rules freeze a "layer", "block" or "stage", scored by the mean of its layers.
        ratio: of layers that "ratio" freezes.
        trained_macs: of the layers' MACs, what "budget" trains at most.
        seed: of the random controls.
        like: whose count or MACs the random controls match; None: "median" of the same table.
        tolerance: of "random-macs", as a fraction of the layers' MACs.

    Raises:
        ValueError: an argument out of its range, or MACs wanted of a table without.
    """
    check_names(select, metrics, level)
    if select in CONTROLS:
        return _control(table, select, source, seed, like, tolerance)
    by_metric = {
        metric: {row.name: float(getattr(row, metric)) for row in table.rows} for metric in metrics
    }
    scores = next(iter(by_metric.values())) if len(by_metric) == 1 else rules.ensemble(by_metric)
    groups = group_layers([row.name for row in table.rows], level)
    of_groups = group_means(groups, scores)
    choices: dict[str, tuple[Callable[[], set[str]], str]] = {
        "median": (lambda: rules.below_median(of_groups), "below the median"),
        "reverse": (lambda: rules.above_median(of_groups), "above the median"),
        "ratio": (lambda: rules.smallest(of_groups, ratio), f"the smallest {ratio:g}"),
        "gap": (lambda: rules.below_largest_gap(of_groups), "below the largest gap"),
        "budget": (
            lambda: rules.within_budget(of_groups, group_sums(groups, _macs(table)), trained_macs),
            f"the cheapest to train at most {trained_macs:g} of the MACs, by the ranks",
        ),
    }
    chosen, words = choices[select]
    frozen = [name for group in chosen() for name in groups[group]]
    joined = " and ".join(metrics) if len(metrics) == 1 else f"mean rank of {', '.join(metrics)}"
    unit = "" if level == "layer" else f", by {level}"
    return make_selection(table, frozen, f"{words} of {joined} ({table.estimator}){unit}", source)


def check_names(select: str, metrics: Sequence[str], level: str) -> None:
    """What `choose` knows by name.

    Raises:
        ValueError: an unknown selection, metric or level, or no metric.
    """
    if select not in (*RULES, *CONTROLS):
        known = ", ".join((*RULES, *CONTROLS))
        raise ValueError(f"expected a selection of {known}, got {select!r}")
    if not metrics:
        raise ValueError("expected at least one metric, got none")
    if unknown := [metric for metric in metrics if metric not in METRICS]:
        raise ValueError(f"expected metrics of {', '.join(METRICS)}, got {', '.join(unknown)}")
    check_level(level)


def _control(
    table: SpectralTable,
    select: str,
    source: str,
    seed: int,
    like: Selection | None,
    tolerance: float,
) -> Selection:
    names = [row.name for row in table.rows]
    if select == "none":
        return make_selection(table, (), "none", source)
    if select == "all-3x3":
        shapes = {row.name: row.shape for row in table.rows}
        return make_selection(table, controls.all_3x3(shapes), "all 3x3 convolutions", source)
    if select == "authors":
        return make_selection(table, controls.authors_list(names), "the list of OpenTrans", source)
    matched = choose(table, "median") if like is None else like
    words = f'as "{matched.method}"'
    if select == "random":
        frozen = controls.random_by_count(names, len(matched.frozen), seed)
        return make_selection(table, frozen, f"random, as many {words}", source, seed)
    macs = _macs(table)
    if unknown := [name for name in matched.frozen if name not in macs]:
        raise ValueError(f"expected a selection of the same layers, got {', '.join(unknown)}")
    wanted = sum(macs[name] for name in matched.frozen)
    frozen = controls.random_by_macs(macs, wanted, seed, tolerance)
    about = f"random, MACs within {tolerance:g} {words}"
    return make_selection(table, frozen, about, source, seed)


def _macs(table: SpectralTable) -> dict[str, float]:
    if any(row.mac_share is None for row in table.rows):
        raise ValueError("expected a table with MACs, got one made without an example input")
    return {row.name: row.mac_share for row in table.rows if row.mac_share is not None}
