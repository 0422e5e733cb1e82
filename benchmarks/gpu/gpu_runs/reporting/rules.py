"""What the figures say about the order of the routes and their limits."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log
from typing import Any

from gpu_runs.reporting.verdicts import FAILED, FASTER, WRONG, verdict, way

Row = dict[str, Any]


def rules(rows: list[Row]) -> Iterator[str]:
    """Sentences, from rows of kind `layer`."""
    for key, group in _grouped(rows, _where).items():
        yield _about_route(key, group)
    yield from _preferences(rows)


def _where(row: Row) -> tuple[str, ...]:
    kernel = f"{row['shape'][2]}x{row['shape'][3]}"
    return row["route"], row["pattern"], row["arithmetic"], kernel, f"batch {row['batch']}"


def _about_route(key: tuple[str, ...], rows: list[Row]) -> str:
    route, *where = key
    bad = [row for row in rows if verdict(row) in (WRONG, FAILED)]
    place = ", ".join(where)
    if bad:
        return f"{route} ({place}): not to be taken: wrong or failed on {_names(bad)}."
    best = [min(group, key=_ours) for group in _grouped(rows, _layer).values()]
    won = [row for row in best if verdict(row) == FASTER]
    speed, count = f"{_mean(best):.2f} times as fast as dense on average", len(best)
    if len(won) == len(best):
        return f"{route} ({place}): take it: faster on all {count} layers, {speed}."
    if not won:
        return f"{route} ({place}): stay dense: faster on none of {count} layers, {speed}."
    some = f"faster on {len(won)} of {count} layers, {speed}: {_names(won)}"
    return f"{route} ({place}): by the clock: {some}."


def _preferences(rows: list[Row]) -> Iterator[str]:
    """Which way is the fastest where several run the same layer with the same mask."""
    for key, group in _grouped(rows, lambda r: (r["pattern"], r["arithmetic"])).items():
        wins: dict[str, int] = {}
        for same in _grouped(group, lambda r: (*_layer(r), r["batch"])).values():
            right = [row for row in same if verdict(row) not in (WRONG, FAILED)]
            if len(right) > 1:
                first = way(min(right, key=_ours))
                wins[first] = wins.get(first, 0) + 1
        if wins:
            order = sorted(wins, key=lambda name: -wins[name])
            text = ", ".join(f"{name} on {wins[name]}" for name in order)
            count = sum(wins.values())
            yield f"Of several ways ({', '.join(key)}) the fastest is {text} of {count}."


def _layer(row: Row) -> tuple[Any, ...]:
    return row["layer"], row["size"]


def _ours(row: Row) -> float:
    return float(row["ours_ms"])


def _mean(rows: list[Row]) -> float:
    """Geometric."""
    return exp(sum(log(row["speedup"][0]) for row in rows) / len(rows))


def _names(rows: list[Row]) -> str:
    return ", ".join(dict.fromkeys(f"{row['layer']} ({way(row)})" for row in rows))


def _grouped(rows: list[Row], key: Any) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
