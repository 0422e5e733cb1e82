"""What a kept weight costs, in MACs and in measured time."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.engine.describe import StepRow
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling import count_macs
from sparse_ovs.pruning import cost
from sparse_ovs.pruning.cost import WeightCosts, mac_costs, ranking, time_costs
from support.small_encoders import Small

LAYERS = ["conv1", "conv2", "conv3", "down"]


def masks_of(model: nn.Module, density: float = 1.0) -> dict[str, Tensor]:
    return {
        name: torch.rand(weight.shape) < density
        for name, weight in named_weights(model, LAYERS).items()
    }


def test_macs_of_full_masks_are_those_of_the_dense_model() -> None:
    model, x = Small(density=1.0).eval(), torch.randn(2, 3, 20, 28)
    costs = mac_costs(model, x, LAYERS)
    assert costs.unit == "MACs"
    assert costs.of(masks_of(model)) == sum(layer.dense for layer in count_macs(model, x).values())


def test_macs_of_masks_are_those_of_the_masked_model() -> None:
    model, x = Small(density=1.0).eval(), torch.randn(1, 3, 20, 28)
    costs, masks = mac_costs(model, x, LAYERS), masks_of(model, 0.3)
    for name, mask in masks.items():
        model.get_submodule(name).weight.data[~mask] = 0  # type: ignore[index]
    assert costs.of(masks) == sum(layer.sparse for layer in count_macs(model, x).values())


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, x, x, need_weights=False)[0]


def test_an_attentions_projections_are_used_once_a_token_and_its_products_are_fixed() -> None:
    model, x = Attending().eval(), torch.randn(3, 5, 8)
    costs = mac_costs(model, x, ["attn"])
    assert costs.per_weight == {"attn.in_proj": 15.0, "attn.out_proj": 15.0}
    assert costs.fixed == 2 * 3 * 5 * 5 * 8  # query x key and scores x value


def test_a_layer_that_the_forward_leaves_out_is_refused() -> None:
    model = Small().eval()
    model.extra = nn.Conv2d(3, 3, 1)
    with pytest.raises(ValueError, match="expected layers that the forward uses, got extra"):
        mac_costs(model, torch.randn(1, 3, 16, 16), ["conv1", "extra"])


def test_weights_are_ranked_by_squared_magnitude_over_cost() -> None:
    costs = {"dear": 100.0, "cheap": 4.0}
    scores = {name: 3.0 / price for name, price in ranking(costs).items()}
    squares = {name: 3.0**2 / cost for name, cost in costs.items()}
    assert {name: score**2 for name, score in scores.items()} == pytest.approx(squares)


def test_costs_of_other_layers_are_refused() -> None:
    costs = WeightCosts("MACs", {"a": 1.0}, 0.0)
    with pytest.raises(ValueError, match="expected masks of the layers with costs, got others: b"):
        costs.of({"a": torch.ones(1, 1).bool(), "b": torch.ones(1, 1).bool()})


@dataclass
class FakePlan:
    """An engine whose layers take a fixed time and a price for each weight that is not zero."""

    model: nn.Module
    per_weight: dict[str, float]
    fixed: float

    def plan_for(self, x: Tensor) -> Any:
        return self

    def measure(self, rounds: int) -> Any:
        return self

    def rows(self) -> list[StepRow]:
        rows = [StepRow("stem", "conv 3x3", (), "dense", 5e-3)]
        for name, price in self.per_weight.items():
            weight = self.model.get_submodule(name).weight
            seconds = self.fixed + price * int(torch.count_nonzero(weight))  # type: ignore[arg-type]
            rows.append(StepRow(name, "conv 1x1", (), "sparse rows1", seconds))
        return rows


def test_measured_prices_are_the_slope_of_time_over_kept_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = Small(density=1.0, width=16).eval(), torch.randn(1, 3, 16, 16)
    uses = mac_costs(model, x, LAYERS).per_weight
    prices = {"conv1": 1e-9, "conv2": 2e-9, "conv3": 1.5e-9, "down": 1e-9}
    prices = {name: price * uses[name] for name, price in prices.items()}
    monkeypatch.setattr(cost, "compile_in", lambda _, m, *rest: FakePlan(m, prices, 2e-3))
    costs = time_costs(model, x, LAYERS)
    assert costs.unit == "seconds"
    assert costs.per_weight == pytest.approx(prices)
    assert costs.fixed == pytest.approx(5e-3 + 4 * 2e-3)


def test_a_price_that_the_clock_disturbed_is_cut_to_four_times_the_usual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = Small(density=1.0, width=16).eval(), torch.randn(1, 3, 16, 16)
    uses = mac_costs(model, x, LAYERS).per_weight
    rates = {"conv1": 1e-9, "conv2": 1e-9, "conv3": -3e-9, "down": 90e-9}
    prices = {name: rate * uses[name] for name, rate in rates.items()}
    monkeypatch.setattr(cost, "compile_in", lambda _, m, *rest: FakePlan(m, prices, 2e-3))
    costs = time_costs(model, x, LAYERS).per_weight
    assert costs["conv3"] == pytest.approx(0.25e-9 * uses["conv3"])
    assert costs["down"] == pytest.approx(4e-9 * uses["down"])


def test_every_layer_of_a_real_plan_has_a_price() -> None:
    model = Small(density=1.0, width=16).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    costs = time_costs(model, torch.randn(1, 3, 32, 32), LAYERS, rounds=1)
    assert list(costs.per_weight) == LAYERS
    assert all(price > 0 for price in costs.per_weight.values())
    assert costs.fixed >= 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_layer_that_is_no_step_of_the_plan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Small(density=1.0).eval()
    monkeypatch.setattr(cost, "compile_in", lambda _, m, *rest: FakePlan(m, {"conv1": 1e-9}, 0.0))
    with pytest.raises(ValueError, match="expected layers that are steps of the plan, got conv2"):
        time_costs(model, torch.randn(1, 3, 16, 16), ["conv1", "conv2"])
