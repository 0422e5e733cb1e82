"""Times of stages: whose turn it is, what is passed on, and what is counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from sparse_ovs.predictor.latency import TOTAL, Contestant, Latency, time_stages


def contestant(name: str, seen: list[str]) -> Contestant:
    def stage(own: str) -> Callable[[Any], str]:
        return lambda before: seen.append(f"{name} {own} {before}") or own

    return Contestant(
        {"encode": stage("encode"), "decide": stage("decide")},
        warm_up=lambda: seen.append(f"{name} warm"),
    )


def test_a_latency_is_the_median_and_the_ninth_decile() -> None:
    made = Latency.of([float(n) for n in range(11)])
    assert made == Latency(5.0, 9.0)
    assert Latency.of([3.0]) == Latency(3.0, 3.0)


def test_contestants_take_turns_and_the_first_changes_with_the_round() -> None:
    seen: list[str] = []
    time_stages({name: contestant(name, seen) for name in "ab"}, rounds=2)
    assert [line[0] for line in seen] == list("aaabbbbbbaaa")


def test_a_turn_warms_up_and_hands_each_stage_what_the_one_before_gave() -> None:
    seen: list[str] = []
    time_stages({"a": contestant("a", seen)}, rounds=1)
    assert seen == ["a warm", "a encode None", "a decide encode"]


def test_milliseconds_are_those_of_the_stages_alone() -> None:
    ticks = itertools.accumulate(itertools.cycle([100.0, 1.0, 2.0]))
    steps: list[str] = []
    made = time_stages(
        {"a": contestant("a", [])}, 2, on_step=steps.append, clock=lambda: next(ticks)
    )
    assert made == {"a": {"encode": [1e3] * 2, "decide": [2e3] * 2, TOTAL: [3e3] * 2}}
    assert steps == ["time 2 rounds: 1 done", "time 2 rounds: 2 done"]
