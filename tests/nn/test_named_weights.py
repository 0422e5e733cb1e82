"""Weights under the names of their masks."""

import pytest
from torch import nn

from sparse_ovs.nn import named_weights
from sparse_ovs.nn.named_weights import weight_owners


def test_convs_and_linears_go_by_their_own_name_and_attentions_have_two() -> None:
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(2, 3, 1),
            "norm": nn.BatchNorm2d(3),
            "attn": nn.MultiheadAttention(4, 2),
            "linear": nn.Linear(2, 2),
        }
    )
    found = named_weights(model, ["attn", "conv"])
    assert list(found) == ["attn.in_proj", "attn.out_proj", "conv"]
    assert found["attn.in_proj"] is model["attn"].in_proj_weight
    assert found["attn.out_proj"] is model["attn"].out_proj.weight
    assert found["conv"] is model["conv"].weight
    assert list(weight_owners(model)) == ["conv", "attn.in_proj", "attn.out_proj", "linear"]


def test_a_layer_without_weights_to_mask_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="expected the names of layers with weights, got 1, x"):
        named_weights(model, ["0", "1", "x"])
