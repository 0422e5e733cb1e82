"""Controls that know nothing of spectra."""

import pytest
import torch

from sparse_ovs.backbones import Backbone
from sparse_ovs.profiling import count_macs
from sparse_ovs.spectral import controls

_MACS = {f"l{i}": float(1 + i % 7) for i in range(40)}


def test_random_layers_are_as_many_as_asked_and_follow_the_seed() -> None:
    names = list(_MACS)
    first, again, other = (controls.random_by_count(names, 17, seed) for seed in (0, 0, 1))
    assert len(first) == len(other) == 17
    assert first == again != other


def test_random_layers_of_every_name_come_up() -> None:
    seen = [controls.random_by_count("abcd", 2, seed) for seed in range(400)]
    for name in "abcd":
        assert sum(name in one for one in seen) == pytest.approx(200, abs=40)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.69, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_random_macs_are_within_the_tolerance(share: float, seed: int) -> None:
    total = sum(_MACS.values())
    frozen = controls.random_by_macs(_MACS, share * total, seed)
    assert abs(sum(_MACS[name] for name in frozen) - share * total) <= 0.01 * total


def test_random_macs_follow_the_seed() -> None:
    first, again, other = (controls.random_by_macs(_MACS, 60, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_macs_that_no_layers_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "_DRAWS", 100)
    with pytest.raises(ValueError, match="raise the tolerance"):
        controls.random_by_macs({"a": 1.0, "b": 1.0}, 0.5, seed=0)


def test_3x3_convolutions_are_told_by_their_shape() -> None:
    shapes = {"a": (8, 8, 3, 3), "b": (8, 8, 1, 1), "c": (8, 8), "d": (8, 8, 3, 1)}
    assert controls.all_3x3(shapes) == {"a"}


def test_the_authors_froze_27_layers_of_19_38_gmac(rn50: Backbone) -> None:
    macs = {n: m.dense for n, m in count_macs(rn50, torch.zeros(1, 3, 512, 512)).items()}
    weights = {name: rn50.get_submodule(name).weight.numel() for name in macs}
    frozen = controls.authors_list(list(macs))
    assert len(frozen) == 27
    frozen_macs = sum(macs[name] for name in frozen)
    assert frozen_macs == pytest.approx(19.38e9, rel=3e-4)
    assert frozen_macs / sum(macs.values()) == pytest.approx(0.691, abs=5e-4)
    assert sum(weights[n] for n in frozen) / sum(weights.values()) == pytest.approx(0.405, abs=5e-4)


def test_the_authors_list_is_for_rn50_alone() -> None:
    with pytest.raises(ValueError, match="expected RN50"):
        controls.authors_list(["conv1"])


@pytest.mark.parametrize("count", [-1, 5])
def test_counts_out_of_range_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="count from 0 to 4"):
        controls.random_by_count("abcd", count, 0)


def test_macs_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 2"):
        controls.random_by_macs({"a": 2.0}, 3.0, 0)
