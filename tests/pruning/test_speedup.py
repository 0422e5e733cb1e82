"""The search for masks at a measured speed-up, on an engine whose time is known."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling.baselines import DenseBaselines
from sparse_ovs.profiling.int8_peers import Int8Peers
from sparse_ovs.profiling.timing import Timings
from sparse_ovs.pruning import speedup
from sparse_ovs.pruning.cost import WeightCosts, mac_costs
from sparse_ovs.pruning.speedup import SpeedupSearch, check_contest
from support.small_encoders import Small

LAYERS = ["conv1", "conv2", "conv3", "down"]
X = torch.randn(1, 3, 32, 32)
DENSE_MS = 100.0


class Machine:
    """Stands for the engine and the clock: a plan's milliseconds are a function of its MACs."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, ms: Callable[[float], float], fixed: float = 2e-3
    ) -> None:
        self.model = Small(density=1.0, width=32).eval()
        self.costs = mac_costs(self.model, X, LAYERS)
        self.timed = 0
        self._ms = ms
        # The list has next to nothing fixed and 60 ms for all: wrong wherever `ms` is not so.
        weights = named_weights(self.model, LAYERS)
        whole = sum(self.costs.per_weight[n] * w.numel() for n, w in weights.items())
        prices = {name: price * 60e-3 / whole for name, price in self.costs.per_weight.items()}
        listed = WeightCosts("seconds", prices, fixed)
        monkeypatch.setattr(speedup, "time_costs", lambda *_, **__: listed)
        monkeypatch.setattr(speedup, "compile_in", self._compile)
        monkeypatch.setattr(speedup, "build_baselines", self._baselines)
        monkeypatch.setattr(speedup, "time_interleaved", self._time)
        self.search = SpeedupSearch(self.model, X, LAYERS, rounds=3)
        self.weights = named_weights(self.model, LAYERS)

    def _compile(self, precision: str, model: nn.Module, *_: object) -> Any:
        weights = named_weights(model, LAYERS)
        work = sum(
            self.costs.per_weight[name] * int(torch.count_nonzero(weight))
            for name, weight in weights.items()
        )
        whole = sum(self.costs.per_weight[n] * w.numel() for n, w in weights.items())
        self.now = self._ms(work / whole)
        return lambda x: None

    def _baselines(self, *_: object) -> DenseBaselines:
        return DenseBaselines(runs={"eager": lambda: [], "frozen": lambda: []})

    def _time(self, runs: Mapping[str, object], rounds: int) -> Timings:
        known = {"eager": 130.0, "frozen": DENSE_MS, "openvino_int8": DENSE_MS, "dense": DENSE_MS}
        self.timed += 1
        return Timings({name: [known.get(name) or self.now] * rounds for name in runs})


SHAPES = {
    "as listed": lambda share: 2 + 60 * share,
    "much fixed": lambda share: 20 + 60 * share,
    "cheap when dense": lambda share: 10 + 80 * share * (1 - 0.45 * share),
    "with a jump": lambda share: 10 + 40 * share + (15 if share > 0.6 else 0),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weigh", ["plain", "macs", "time"])
def test_the_asked_speedup_is_reached_whatever_the_engine_is_like(
    monkeypatch: pytest.MonkeyPatch, shape: str, weigh: Any
) -> None:
    machine = Machine(monkeypatch, SHAPES[shape])
    result = machine.search.masks_for(machine.weights, 3.0, weigh)
    assert result.speedup.median == pytest.approx(3.0, rel=0.03)
    assert result.baseline == "frozen"
    assert result.dense_ms == DENSE_MS
    assert result.sparse_ms == pytest.approx(DENSE_MS / 3, rel=0.03)
    assert result.tries[-1][1] == result.speedup.median
    assert result.macs == machine.costs.of(result.masks)


def test_masks_weighed_by_time_keep_more_magnitude_than_plain_ones_at_the_same_speedup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, SHAPES["much fixed"])
    kept = {
        weigh: machine.search.masks_for(machine.weights, 3.0, weigh).kept_magnitude
        for weigh in ("plain", "time")
    }
    assert kept["time"] > 1.02 * kept["plain"]


def test_a_speedup_beyond_what_is_fixed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda share: 50 + 50 * share, fixed=50e-3)
    with pytest.raises(ValueError, match=r"that pruning reaches, below 2 here, got 3"):
        machine.search.masks_for(machine.weights, 3.0)


def test_masks_of_a_jump_across_the_asked_speedup_are_the_closest_that_were_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, lambda share: 20.0 if share < 0.5 else 45.0)
    result = machine.search.masks_for(machine.weights, 3.0)
    assert len(result.tries) == 8
    assert result.speedup.median == pytest.approx(100 / 45)  # 5x is farther off


def test_previous_masks_are_only_pruned_further(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, SHAPES["much fixed"])
    generator = torch.Generator().manual_seed(0)
    previous = {
        name: torch.rand(weight.shape, generator=generator) < 0.7
        for name, weight in machine.weights.items()
    }
    result = machine.search.masks_for(machine.weights, 4.0, previous=previous)
    assert result.speedup.median == pytest.approx(4.0, rel=0.03)
    assert not any((mask & ~previous[name]).any() for name, mask in result.masks.items())


def test_previous_masks_that_are_fast_enough_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, SHAPES["as listed"])
    generator = torch.Generator().manual_seed(0)
    previous = {
        name: torch.rand(weight.shape, generator=generator) < 0.01
        for name, weight in machine.weights.items()
    }
    result = machine.search.masks_for(machine.weights, 2.0, previous=previous)
    assert all(torch.equal(result.masks[name], mask) for name, mask in previous.items())


def test_likely_masks_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, SHAPES["as listed"])
    timed = machine.timed
    masks = machine.search.likely_masks(machine.weights, 3.0)
    assert machine.timed == timed
    seconds = machine.search.times.of(masks)
    assert seconds == pytest.approx(1e-3 * DENSE_MS / 3, rel=0.01)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_speedup_above_zero_is_expected(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    machine = Machine(monkeypatch, SHAPES["as listed"])
    with pytest.raises(ValueError, match="expected a speed-up above 0"):
        machine.search.masks_for(machine.weights, value)


def test_an_unknown_weighing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, SHAPES["as listed"])
    with pytest.raises(ValueError, match="expected to weigh by plain, macs or time, got 'luck'"):
        machine.search.masks_for(machine.weights, 2.0, "luck")  # type: ignore[arg-type]


def test_no_dense_baseline_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        speedup, "build_baselines", lambda *_: DenseBaselines(failures={"frozen": "no compiler"})
    )
    model = Small(density=1.0, width=16).eval()
    with pytest.raises(RuntimeError, match="no dense baseline could be built: frozen: no comp"):
        SpeedupSearch(model, X, LAYERS, rounds=1)


def test_a_real_search_times_the_engine_against_dense_torch() -> None:
    model = Small(density=1.0, width=64).eval()
    search = SpeedupSearch(model, X, LAYERS, baselines=["eager"], rounds=3)
    result = search.masks_for(named_weights(model, LAYERS), 1.0)
    assert result.baseline == "eager"
    assert result.dense_ms > 0
    assert result.sparse_ms > 0
    assert set(result.masks) == set(LAYERS)


def test_a_real_search_in_int8_times_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    plain = speedup.compile_in

    def watched(precision: str, *rest: Any) -> Any:
        compiled = plain(precision, *rest)
        seen.append(str(compiled))
        return compiled

    monkeypatch.setattr(speedup, "compile_in", watched)
    model = Small(density=1.0, width=64).eval()
    search = SpeedupSearch(model, X, LAYERS, baselines=["eager"], rounds=3, precision="int8")
    result = search.masks_for(named_weights(model, LAYERS), 1.0)
    assert result.sparse_ms > 0
    assert seen
    assert all("int8" in text for text in seen)


def test_an_opponent_stands_in_for_the_dense_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, SHAPES["as listed"])
    asked: list[object] = []

    def build(dense: nn.Module, x: Tensor, names: list[str], *rest: Any) -> Int8Peers:
        asked.extend(names)
        return Int8Peers(runs={"openvino_int8": lambda: []})

    monkeypatch.setattr(speedup, "installed", lambda: ["openvino_int8"])
    monkeypatch.setattr(speedup, "build_int8_dense", build)
    monkeypatch.setattr(speedup, "build_baselines", None)  # is not called
    search = SpeedupSearch(machine.model, X, LAYERS, rounds=3, against="openvino_int8")
    result = search.masks_for(machine.weights, 2.0)
    assert asked == ["openvino_int8"]
    assert result.baseline == "openvino_int8"
    assert result.speedup.median == pytest.approx(2.0, rel=0.03)


def test_an_opponent_that_cannot_be_built_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, SHAPES["as listed"])
    monkeypatch.setattr(speedup, "installed", lambda: ["openvino_int8"])
    failed = Int8Peers(failures={"openvino_int8": "no such operator"})
    monkeypatch.setattr(speedup, "build_int8_dense", lambda *_: failed)
    with pytest.raises(RuntimeError, match="OpenVINO int8 could not be built: no such operator"):
        SpeedupSearch(machine.model, X, LAYERS, rounds=3, against="openvino_int8")


@pytest.mark.parametrize(
    ("precision", "against", "message"),
    [
        ("int4", None, "expected a precision of fp32, .*got 'int4'"),
        ("int8", "tensorrt", "expected to be against openvino_int8 or onnx.*got 'tensorrt'"),
        ("int8", "openvino_int8", "expected OpenVINO int8 to be installed .pip install openvino"),
    ],
)
def test_a_contest_that_there_is_none_of_is_refused(
    monkeypatch: pytest.MonkeyPatch, precision: str, against: str | None, message: str
) -> None:
    monkeypatch.setattr(speedup, "installed", list)
    with pytest.raises(ValueError, match=message):
        check_contest(precision, against)
