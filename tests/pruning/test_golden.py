"""The golden numbers of CLIP RN50 under iterative magnitude pruning."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs.backbones import Backbone, default_scope
from sparse_ovs.nn import named_weights
from sparse_ovs.nn.named_weights import weight_owners
from sparse_ovs.profiling.macs import count_macs
from sparse_ovs.pruning import iterative, magnitude_masks, unit_counts

KEPT = 2_308_849


def test_52_of_55_convolutions_with_23_445_504_weights_are_in_scope(rn50: Backbone) -> None:
    weights = named_weights(rn50, default_scope(rn50))
    assert len(weight_owners(rn50)) == 55
    assert len(weights) == 52
    assert sum(unit_counts(weights, "unstructured").values()) == 23_445_504
    assert 4 * sum(unit_counts(weights, "block4x1").values()) == 23_445_504


def test_the_mask_after_22_rounds_has_the_golden_count(rn50: Backbone) -> None:
    weights = named_weights(rn50, default_scope(rn50))
    masks = magnitude_masks(weights, count=iterative(23_445_504, rounds=22)[-1])
    assert sum(int(mask.sum()) for mask in masks.values()) == KEPT
    kept = min(float(weights[n].detach()[m].abs().min()) for n, m in masks.items() if m.any())
    dropped = max(
        float(weights[n].detach()[~m].abs().max()) for n, m in masks.items() if not m.all()
    )
    assert kept >= dropped


@pytest.mark.slow
def test_22_rounds_are_nested_and_end_in_the_one_shot_mask_where_nothing_trains(
    rn50: Backbone,
) -> None:
    weights = named_weights(rn50, default_scope(rn50))
    masks = None
    for count in iterative(23_445_504, rounds=22):
        later = magnitude_masks(weights, count=count, previous=masks)
        assert sum(int(mask.sum()) for mask in later.values()) == count
        if masks is not None:
            assert all(bool((masks[name] | ~later[name]).all()) for name in weights)
        masks = later
    one_shot = magnitude_masks(weights, count=KEPT)
    assert masks is not None
    assert all(torch.equal(masks[name], one_shot[name]) for name in weights)


@pytest.mark.parametrize(
    ("size", "giga"),
    [((512, 512), 28.04), pytest.param((800, 1216), 104.06, marks=pytest.mark.slow)],
)
def test_rn50_has_the_golden_macs(rn50: Backbone, size: tuple[int, int], giga: float) -> None:
    macs = count_macs(rn50, torch.zeros(1, 3, *size))
    assert len(macs) == 55
    assert sum(layer.dense for layer in macs.values()) / 1e9 == pytest.approx(giga, abs=0.005)
