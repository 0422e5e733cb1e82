"""find_subnetwork: which masks follow from which settings, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.loop import GeneratedBatches, Report
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.pruning import (
    SubnetworkSettings,
    Watcher,
    find_subnetwork,
    magnitude_masks,
    random_masks_like,
    uniform_random_masks,
)
from sparse_ovs.pruning import masks as mask_files
from sparse_ovs.pruning.criteria import density_of
from support.small_clips import RN, small_backbone


def batches() -> GeneratedBatches:
    def make(number: int) -> Tensor:
        return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(number))

    return GeneratedBatches(make, 2)


def weights_of(backbone: Backbone) -> dict[str, Tensor]:
    return {n: w.detach().clone() for n, w in named_weights(backbone, backbone.scope()).items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


class Noted(Watcher):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.steps: list[str] = []
        self.orders = 0

    def phase(self, name: str) -> AbstractContextManager[Callable[[str], None]]:
        self.phases.append(name)
        return nullcontext(self.steps.append)

    def training(self) -> AbstractContextManager[Callable[[Report], None]]:
        return nullcontext(lambda at: self.steps.append(f"{at.step} of {at.steps}"))

    def permuted(self, report: Any) -> None:
        self.orders = len(report.orders)


def test_magnitude_masks_have_the_density_and_zero_the_weights_outside() -> None:
    backbone = small_backbone(RN)
    before = weights_of(backbone)
    found = find_subnetwork(SubnetworkSettings("oneshot", density=0.2), backbone)
    assert same(found.masks, magnitude_masks(before, density=0.2))
    assert same(found.weights, before)
    after = weights_of(backbone)
    assert all(torch.equal(after[n], before[n] * found.masks[n]) for n in before)


def test_random_masks_take_magnitudes_densities_or_those_of_a_file(tmp_path: Path) -> None:
    weights = weights_of(small_backbone(RN))
    magnitudes = magnitude_masks(weights, density=0.2)
    expected = random_masks_like(magnitudes, seed=3)
    settings = SubnetworkSettings("random", density=0.2, seed=3)
    assert same(find_subnetwork(settings, small_backbone(RN)).masks, expected)
    path = tmp_path / "m.safetensors"
    one_shot = SubnetworkSettings("oneshot", density=0.2)
    find_subnetwork(one_shot, small_backbone(RN)).save(path, "small random")
    settings = SubnetworkSettings("random", like=path, seed=3)
    found = find_subnetwork(settings, small_backbone(RN)).masks
    assert {n: int(m.sum()) for n, m in found.items()} == {
        n: int(m.sum()) for n, m in magnitudes.items()
    }


def test_masks_of_a_part_of_the_scope_are_no_example(tmp_path: Path) -> None:
    backbone = small_backbone(RN)
    found = find_subnetwork(SubnetworkSettings("oneshot", density=0.2), backbone)
    name, mask = next(iter(found.masks.items()))
    mask_files.save(tmp_path / "one", {name: mask}, found.info("small random"))
    settings = SubnetworkSettings("random", like=tmp_path / "one")
    with pytest.raises(ValueError, match=r"expected masks of the encoder's scope in .*one, got"):
        find_subnetwork(settings, small_backbone(RN))


def test_uniform_masks_are_one_random_choice_over_all_weights() -> None:
    shapes = {name: w.shape for name, w in weights_of(small_backbone(RN)).items()}
    settings = SubnetworkSettings("uniform", density=0.3, seed=4)
    found = find_subnetwork(settings, small_backbone(RN))
    assert same(found.masks, uniform_random_masks(shapes, density=0.3, seed=4))
    assert found.info("x").criterion == "random, seed 4"
    assert found.info("x").schedule == "random in one step"


def test_a_budget_of_macs_is_kept() -> None:
    settings = SubnetworkSettings("oneshot", budget_macs=0.25, size=(64, 96))
    found = find_subnetwork(settings, small_backbone(RN))
    assert found.example.shape == (1, 3, 64, 96)
    assert found.info("x").criterion == "squared magnitude over MACs, global"
    assert 0 < density_of(found.masks) < 1


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = SubnetworkSettings("gradual", density=0.5, rounds=2, iters_per_round=2, seed=1)
    whole_backbone = small_backbone(RN)
    whole = find_subnetwork(settings, whole_backbone, batches(), folder=tmp_path / "a")
    assert whole.info("x").weights == "trained"

    class Stopping(Watcher):
        def training(self) -> AbstractContextManager[Callable[[Report], None]]:
            def stop(at: Report) -> None:
                if at.step == 3:
                    raise KeyboardInterrupt

            return nullcontext(stop)

    folder = tmp_path / "b"
    with pytest.raises(KeyboardInterrupt):
        find_subnetwork(settings, small_backbone(RN), batches(), folder=folder, watcher=Stopping())
    backbone = small_backbone(RN)
    found = find_subnetwork(settings, backbone, batches(), folder=folder, resume=True)
    assert same(found.masks, whole.masks)
    assert same(backbone.state_dict(), whole_backbone.state_dict())


def test_training_needs_images() -> None:
    settings = SubnetworkSettings(rounds=1, iters_per_round=1)
    with pytest.raises(ValueError, match="expected batches of images to train on, got none"):
        find_subnetwork(settings, small_backbone(RN))


def test_statistics_of_batch_norm_are_estimated_anew_where_images_are_given() -> None:
    settings = SubnetworkSettings("oneshot", density=0.5)
    plain, again = small_backbone(RN), small_backbone(RN)
    find_subnetwork(settings, plain)
    find_subnetwork(settings, again, recalibrate_on=[torch.randn(4, 3, 64, 64)])
    assert not torch.equal(plain.layer1[0].bn1.running_mean, again.layer1[0].bn1.running_mean)
    assert torch.equal(plain.layer1[0].conv1.weight, again.layer1[0].conv1.weight)


def test_a_watcher_is_told_phases_rounds_steps_and_orders() -> None:
    told = Noted()
    settings = SubnetworkSettings(
        "gradual", density=0.5, rounds=2, pattern="block4x1", permute=True
    )
    found = find_subnetwork(settings, small_backbone(RN), watcher=told)
    assert told.phases == ["weigh the layers", "order channels", "prune"]
    assert told.steps[-1] == f"round 2 of 2: density {density_of(found.masks):.4f}"
    assert told.orders == len(found.orders) > 0
    told = Noted()
    settings = SubnetworkSettings(rounds=2, iters_per_round=1)
    find_subnetwork(settings, small_backbone(RN), batches(), watcher=told)
    assert told.steps == ["1 of 2", "2 of 2"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected one of density, budget_macs, target_speedup, like, rounds, got none of"),
        ({"density": 0.1, "budget_macs": 0.1}, "got density and budget_macs"),
        ({"density": 0.1, "schedule": "luck"}, "expected a schedule of imp, .*, got 'luck'"),
        ({"like": "x"}, "expected like with schedule random, got schedule imp"),
        ({"budget_macs": 0.1, "schedule": "uniform"}, "expected density with schedule uniform"),
        ({"density": 0.1, "schedule": "random", "permute": True}, "expected permute with magnit"),
        ({"density": 2.0}, "expected a density with 0 < density <= 1, got 2"),
        ({"budget_macs": 0.0}, "expected a share of MACs with 0 < share <= 1, got 0"),
        ({"target_speedup": 0.0}, "expected a speed-up above 0, got 0"),
        ({"density": 0.1, "size": (0, 3)}, r"expected a size of at least 1 pixel, got \(0, 3\)"),
        ({"density": 0.1, "weigh": "luck"}, "expected to weigh by plain, macs or time, got 'luck'"),
        ({"density": 0.1, "iters_per_round": -1}, "expected iters_per_round >= 0, got -1"),
        ({"density": 0.1, "iters_per_round": 1, "lr": 0.0}, "expected lr > 0, got 0"),
    ],
)
def test_settings_that_make_no_run_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SubnetworkSettings(**settings)


def test_errors_spell_settings_as_whoever_asks_does() -> None:
    with pytest.raises(ValueError, match=r"expected one of DENSITY, .*, got DENSITY and ROUNDS"):
        SubnetworkSettings(density=0.1, rounds=3, spell=str.upper)
