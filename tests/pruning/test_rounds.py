"""Rounds of pruning: how many units each leaves, and which goal ends them."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sparse_ovs.pruning.cost import WeightCosts
from sparse_ovs.pruning.criteria import density_of
from sparse_ovs.pruning.goals import DensityGoal, MacsGoal
from sparse_ovs.pruning.rounds import PruningRounds, RoundSettings


def make_weights(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (16, 12, 3, 3), "b": (40, 16), "c": (8, 40, 1, 1)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def kept(masks: dict[str, Tensor]) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


def run_all(rounds: PruningRounds, weights: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    made: list[dict[str, Tensor]] = []
    while rounds.done < len(rounds):
        made.append(rounds.next_masks(weights, made[-1] if made else None))
    return made


@pytest.mark.parametrize(
    ("settings", "density"),
    [
        (RoundSettings("imp"), 0.1),
        (RoundSettings("imp", rounds=7), None),
        (RoundSettings("gradual", rounds=5), 0.2),
        (RoundSettings("oneshot"), 0.3),
    ],
)
def test_each_round_leaves_what_the_schedule_says_among_what_was_left(
    settings: RoundSettings, density: float | None
) -> None:
    weights = make_weights()
    rounds = PruningRounds(weights, "unstructured", DensityGoal(density), settings)
    made = run_all(rounds, weights)
    total = sum(weight.numel() for weight in weights.values())
    assert [kept(masks) for masks in made] == settings.counts(total, density)
    for before, after in pairwise(made):
        assert not any((after[name] & ~before[name]).any() for name in weights)


def test_iterative_magnitude_on_unchanged_weights_is_one_shot_magnitude() -> None:
    weights = make_weights()
    goal = DensityGoal(0.15)
    step_by_step = run_all(PruningRounds(weights, "block4x1", goal, RoundSettings("imp")), weights)
    at_once = run_all(PruningRounds(weights, "block4x1", goal, RoundSettings("oneshot")), weights)
    assert len(at_once) == 1
    assert all(torch.equal(step_by_step[-1][name], at_once[0][name]) for name in weights)


def test_a_round_looks_at_the_weights_as_they_are_then() -> None:
    weights = make_weights()
    rounds = PruningRounds(weights, "unstructured", DensityGoal(0.4), RoundSettings("imp"))
    masks = rounds.next_masks(weights, None)
    grown = {name: torch.where(weight > 0, 10 * weight, weight) for name, weight in weights.items()}
    while rounds.done < len(rounds):
        masks = rounds.next_masks(grown, masks)
    positive = sum(int((masks[name] & (weights[name] > 0)).sum()) for name in weights)
    assert positive > 0.9 * kept(masks)


@pytest.mark.parametrize("schedule", ["imp", "oneshot"])
@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_a_budget_of_macs_is_used_up_and_never_passed(schedule: str, pattern: str) -> None:
    weights = make_weights()
    costs = WeightCosts("MACs", {"a": 100.0, "b": 3.0, "c": 25.0}, 1e6)
    goal = MacsGoal(0.2, costs)
    settings = RoundSettings(schedule)  # type: ignore[arg-type]
    masks = run_all(PruningRounds(weights, pattern, goal, settings), weights)[-1]
    spent = sum(costs.per_weight[name] * int(mask.sum()) for name, mask in masks.items())
    whole = sum(costs.per_weight[name] * w.numel() for name, w in weights.items())
    assert 0.2 * whole - 4 * 100 < spent <= 0.2 * whole
    assert masks["b"].float().mean() > masks["a"].float().mean()  # cheap weights stay


def test_n_of_m_is_one_round_without_counts() -> None:
    weights = make_weights()
    rounds = PruningRounds(weights, "2:4", DensityGoal(), RoundSettings("oneshot"))
    assert density_of(rounds.next_masks(weights, None)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="expected schedule oneshot for pattern '2:4'"):
        PruningRounds(weights, "2:4", DensityGoal(), RoundSettings("imp"))


def test_a_state_goes_on_where_it_was_saved() -> None:
    weights = make_weights()
    settings, goal = RoundSettings("imp"), DensityGoal(0.4)
    whole = run_all(PruningRounds(weights, "unstructured", goal, settings), weights)
    first = PruningRounds(weights, "unstructured", goal, settings)
    masks = first.next_masks(weights, None)
    # Made from other weights, as those of a resumed run are before its checkpoint is read.
    second = PruningRounds(make_weights(9), "unstructured", goal, settings)
    second.load_state_dict(first.state_dict())
    assert second.done == 1
    while second.done < len(second):
        masks = second.next_masks(weights, masks)
    assert all(torch.equal(masks[name], whole[-1][name]) for name in weights)


def test_no_round_comes_after_the_last() -> None:
    weights = make_weights()
    rounds = PruningRounds(weights, "unstructured", DensityGoal(0.5), RoundSettings("oneshot"))
    run_all(rounds, weights)
    with pytest.raises(RuntimeError, match="expected fewer than 1 rounds to be done"):
        rounds.next_masks(weights, None)


@pytest.mark.parametrize(
    ("settings", "density", "message"),
    [
        (RoundSettings("imp"), None, "expected rounds or a density"),
        (RoundSettings("imp", 3), 0.5, "expected rounds or a density"),
        (RoundSettings("oneshot"), None, "expected a density for schedule 'oneshot', got None"),
        (RoundSettings("gradual"), 0.5, "expected the rounds of schedule 'gradual', got None"),
    ],
)
def test_what_leaves_the_end_open_is_refused(
    settings: RoundSettings, density: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PruningRounds(make_weights(), "unstructured", DensityGoal(density), settings)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a schedule of imp, oneshot, gradual, got 'x'"):
        RoundSettings("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0, 1.5])
def test_a_share_of_macs_is_a_fraction(share: float) -> None:
    with pytest.raises(ValueError, match=r"expected a share of MACs with 0 < share <= 1, got"):
        MacsGoal(share, WeightCosts("MACs", {"a": 1.0}, 0.0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (RoundSettings("imp"), "iterative, 0.1 a round"),
        (RoundSettings("imp", 22), "iterative, 0.1 a round, 22 rounds"),
        (RoundSettings("gradual", 5), "gradual cubic, 5 rounds"),
        (RoundSettings("oneshot"), "one-shot"),
    ],
)
def test_a_schedule_says_what_it_is(settings: RoundSettings, words: str) -> None:
    assert str(settings) == words
