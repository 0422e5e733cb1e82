"""A race: who is in it, in which order, and why somebody is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest

from peer_runs.measure import Race, errors_of, in_turn


class Broken(RuntimeError):
    """A worker's failure."""


class FakeWorker:
    """Answers from a script and writes down what it is asked."""

    def __init__(self, name: str, ms: list[float], diary: list[str], output: float = 1.0) -> None:
        self.name, self.ms, self.diary, self.output = name, ms, diary, output
        self.closed = False
        self.passes: list[int] = []

    def load(self, job: Mapping[str, Any]) -> dict[str, str]:
        if job["option"] == "fails":
            raise Broken("no kernel")
        return {"version": "1"}

    def warm(self, passes: int) -> float:
        return self.ms[0]

    def run(self, passes: int) -> float:
        self.diary.append(self.name)
        self.passes.append(passes)
        turn = self.diary.count(self.name) - 1
        if turn >= len(self.ms):
            raise Broken("ran out of memory")
        return self.ms[turn]

    def outputs(self, path: Path) -> None:
        numpy.savez(path, numpy.full(3, self.output))

    def memory(self) -> dict[str, float]:
        return {"peak_mb": 2000.0, "resident_mb": 100.0}

    def cpu_seconds(self) -> float:
        return 1.0

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def diary() -> list[str]:
    return []


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "reference.npz"
    numpy.savez(path, numpy.ones(3))
    return path


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Race:
    monkeypatch.setattr("peer_runs.measure.sleep", lambda seconds: None)
    return Race(Broken, lambda text: None)


def enter(
    race: Race, worker: FakeWorker, reference: Path, option: str = "", available: float = 1e6
) -> None:
    race.enter(worker.name, lambda: worker, {"option": option}, reference, available)


def test_everybody_starts_a_round_in_turn(race: Race, reference: Path, diary: list[str]) -> None:
    for name, ms in (("a", [1.0, 2.0, 3.0, 4.0]), ("b", [5.0] * 4), ("c", [6.0] * 4)):
        enter(race, FakeWorker(name, ms, diary), reference)
    race.rounds(4)
    assert "".join(diary) == "abcbcacababc"
    assert race.samples["a"] == [1.0, 2.0, 3.0, 4.0]
    assert race.failures == {}
    assert in_turn("xy", 3) == ["y", "x"]


def test_all_have_as_many_passes_as_the_fastest_needs(
    race: Race, reference: Path, diary: list[str]
) -> None:
    quick, slow = FakeWorker("a", [50.0], diary), FakeWorker("b", [500.0], diary)
    for worker in (quick, slow):
        enter(race, worker, reference)
    race.rounds(1)
    assert quick.passes == slow.passes == [3]
    assert race.passes == 3


def test_a_failure_is_kept_with_its_reason_and_the_others_go_on(
    race: Race, reference: Path, diary: list[str]
) -> None:
    tired, fine = FakeWorker("tired", [1.0], diary), FakeWorker("fine", [2.0] * 3, diary)
    bad = FakeWorker("bad", [1.0], diary)
    enter(race, tired, reference)
    enter(race, bad, reference, "fails")
    enter(race, fine, reference)
    race.rounds(3)
    assert race.failures == {"bad": "no kernel", "tired": "ran out of memory"}
    assert race.samples == {"fine": [2.0] * 3}
    assert bad.closed
    assert tired.closed
    race.close()
    assert fine.closed


@pytest.mark.parametrize(
    ("output", "text"), [(1.5, "wrong: relative error 5.0e-01"), (float("nan"), "wrong: .*nan")]
)
def test_a_wrong_contestant_does_not_race(
    race: Race, reference: Path, diary: list[str], output: float, text: str
) -> None:
    enter(race, FakeWorker("wrong", [1.0], diary, output), reference)
    enter(race, FakeWorker("right", [9.0], diary, 1.0001), reference)
    race.rounds(1)
    assert list(race.samples) == ["right"]
    assert race.errors["right"].largest == pytest.approx(1e-4)
    assert pytest.approx(0) != race.errors["wrong"].largest
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(race.failures["wrong"])


@pytest.mark.parametrize(
    ("precision", "right", "wrong"),
    [("fp32", 1.0009, 1.002), ("bf16", 1.19, 1.3), ("int8", 1.39, 1.5)],
)
def test_a_contestant_is_judged_by_its_precision(
    race: Race, reference: Path, diary: list[str], precision: str, right: float, wrong: float
) -> None:
    for name, output in (("right", right), ("wrong", wrong)):
        worker = FakeWorker(name, [1.0], diary, output)
        race.enter(name, lambda worker=worker: worker, {"option": ""}, reference, 1e6, precision)
    assert list(race.workers) == ["right"]
    assert list(race.failures) == ["wrong"]


def test_work_of_other_processes_is_measured(
    race: Race, reference: Path, diary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, clock, busy = iter([10.0, 10.0, 10.0, 13.0]), iter([0.0, 10.0]), iter([100.0, 108.0])
    worker = FakeWorker("a", [1.0], diary)
    monkeypatch.setattr(worker, "cpu_seconds", lambda: next(own))
    for name, values in (("perf_counter", clock), ("busy_seconds", busy)):
        monkeypatch.setattr(f"peer_runs.measure.{name}", lambda values=values: next(values))
    for name in ("process_time", "children_seconds"):
        monkeypatch.setattr(f"peer_runs.measure.{name}", lambda: 1.0)
    enter(race, worker, reference)
    race.rounds(1)
    # 8 core seconds in 10 s, 3 of them the contestant's
    assert race.background == pytest.approx(0.5)


def test_who_might_not_fit_in_memory_is_left_out(
    race: Race, reference: Path, diary: list[str]
) -> None:
    enter(race, FakeWorker("a", [1.0], diary), reference, available=1500)
    enter(race, FakeWorker("b", [1.0], diary), reference, available=3500)  # a's peak: 2000
    assert list(race.workers) == ["a"]
    assert race.failures == {"b": "left out: 3.5 GB of memory left"}


def test_errors_are_those_of_the_worst_output(tmp_path: Path) -> None:
    ours, theirs, other = tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "c.npz"
    numpy.savez(ours, numpy.array([1.0, 10.5]), numpy.array([100.0]))
    numpy.savez(theirs, numpy.array([1.0, 10.0]), numpy.array([101.0]))
    numpy.savez(other, numpy.array([1.0, 10.0]))
    errors = errors_of(ours, theirs)
    assert errors.largest == pytest.approx(0.05)
    assert errors.relative == pytest.approx(0.5 / 101**0.5)
    assert errors.cosine == pytest.approx((1 + 105) / (101 * (1 + 10.5**2)) ** 0.5)
    assert errors_of(ours, other).relative == float("inf")
