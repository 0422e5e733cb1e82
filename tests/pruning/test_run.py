"""Pruning runs: what they leave, and that killed ones end with the same bits."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.pruning.criteria import density_of
from sparse_ovs.pruning.goals import DensityGoal
from sparse_ovs.pruning.rounds import RoundSettings
from sparse_ovs.pruning.run import TrainSettings
from sparse_ovs.pruning.run import prune as prune_untrained
from support import small_runs
from support.small_pruning import (
    DENSITY,
    ITERS,
    LAYERS,
    RN50_ROUNDS,
    ROUNDS,
    make_net,
    prune,
    prune_rn50,
    prune_small,
)


@pytest.mark.parametrize(
    ("run", "steps", "kills"),
    [
        pytest.param(prune_small, ITERS * ROUNDS, 4, id="small"),
        pytest.param(prune_small, ITERS * ROUNDS, 10, id="small-10", marks=pytest.mark.slow),
        pytest.param(prune_rn50, ITERS * RN50_ROUNDS, 10, id="RN50-10", marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
    run: Callable[[Path], None], steps: int, kills: int, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    small_runs.kill_at_moments(run, killed, steps, kills)
    for folder in (whole, killed):
        child = small_runs.process(run, folder)
        child.join()
        assert child.exitcode == 0
    assert (killed / "log.csv").read_bytes() == (whole / "log.csv").read_bytes()
    ours, theirs = (torch.load(folder / "result.pt") for folder in (killed, whole))
    for part in ("net", "masks"):
        assert ours[part].keys() == theirs[part].keys()
        for name, value in theirs[part].items():
            assert torch.equal(ours[part][name], value), name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("finished")
    prune_small(folder)
    return folder


def test_the_run_ends_at_the_density_with_zeros_outside_the_masks(finished: Path) -> None:
    result = torch.load(finished / "result.pt")
    weights = named_weights(make_net(), LAYERS)
    total = sum(weight.numel() for weight in weights.values())
    assert sum(int(mask.sum()) for mask in result["masks"].values()) == int(DENSITY * total)
    for name, mask in result["masks"].items():
        assert not torch.count_nonzero(result["net"][f"{name}.weight"][~mask])
        assert torch.count_nonzero(result["net"][f"{name}.weight"][mask]) == mask.sum()


def test_weights_and_statistics_were_trained(finished: Path) -> None:
    result, fresh = torch.load(finished / "result.pt"), make_net()
    assert not torch.equal(result["net"]["norm.running_mean"], fresh.norm.running_mean)
    mask = result["masks"]["conv2"]
    assert not torch.equal(result["net"]["conv2.weight"][mask], fresh.conv2.weight[mask])


def test_the_log_tells_the_density_of_each_step_and_each_round_prunes_after_its_steps(
    finished: Path,
) -> None:
    rows = list(csv.DictReader((finished / "log.csv").open()))
    assert len(rows) == ITERS * ROUNDS
    densities = [round(float(row["density"]), 6) for row in rows]
    assert densities[:ITERS] == [1.0] * ITERS
    assert len(set(densities)) == ROUNDS
    assert densities == sorted(densities, reverse=True)
    assert {"loss", "map0", "map1", "embedding", "lr"} <= rows[0].keys()


def test_the_model_keeps_its_mode_and_no_hooks() -> None:
    net = make_net()
    masks = prune(net, LAYERS, RoundSettings("gradual", 2), None, None)
    assert all(module.training for module in net.modules())
    weight = net.conv1.weight
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=1.0).step()
    assert torch.count_nonzero(weight[~masks["conv1"]])


def test_pruning_without_training_zeroes_weights_and_tells_of_each_round() -> None:
    net, told = make_net(), []
    masks = prune_untrained(
        net,
        LAYERS,
        "unstructured",
        DensityGoal(0.5),
        RoundSettings("gradual", 3),
        lambda *what: told.append(what),
    )
    assert [(done, rounds) for done, rounds, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[-1][2] == density_of(masks) == pytest.approx(0.5, abs=1e-3)
    fresh = make_net()
    for name, mask in masks.items():
        weight = net.get_submodule(name).weight
        assert torch.equal(weight, fresh.get_submodule(name).weight * mask)


def test_training_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="expected iters_per_round >= 1, got 0"):
        TrainSettings(0)
    with pytest.raises(ValueError, match="expected lr > 0, got 0"):
        TrainSettings(1, lr=0)
