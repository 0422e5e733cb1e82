"""Which weights of an encoder have a spectrum."""

import pytest
import torch
from torch import nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.spectral.layers import spectral_layers


def names(model: nn.Module) -> list[str]:
    return [layer.name for layer in spectral_layers(model)]


def test_rn50_has_55_convolutions(rn50: Backbone) -> None:
    layers = spectral_layers(rn50)
    assert len(layers) == 55
    assert [layer.name for layer in layers[:4]] == ["conv1", "conv2", "conv3", "layer1.0.conv1"]


def test_names_are_canonical_and_owners_the_models_own(rn50: Backbone) -> None:
    wrapped = nn.ModuleDict({"backbone": rn50})
    layers = spectral_layers(wrapped)
    assert [layer.name for layer in layers] == names(rn50)
    assert layers[3].owner == "backbone.layer1.0.conv1"


def test_attention_is_split_into_q_k_v_and_its_output() -> None:
    attention = nn.MultiheadAttention(4, 2)
    model = nn.ModuleDict({"attn": attention})
    layers = {layer.name: layer for layer in spectral_layers(model)}
    assert list(layers) == [
        *("attn.in_proj.q", "attn.in_proj.k", "attn.in_proj.v"),
        "attn.out_proj",
    ]
    parts = [layers[f"attn.in_proj.{part}"] for part in "qkv"]
    assert torch.equal(torch.cat([part.weight for part in parts]), attention.in_proj_weight)
    assert {part.owner for part in parts} == {"attn.in_proj"}


def test_long_linears_and_grouped_convolutions_are_left_out() -> None:
    model = nn.ModuleDict(
        {
            "short": nn.Linear(10, 79),
            "long": nn.Linear(10, 80),
            "full": nn.Conv2d(8, 8, 3),
            "depthwise": nn.Conv2d(8, 8, 3, groups=8),
        }
    )
    assert names(model) == ["short", "full"]


def test_a_model_of_two_towers_is_refused() -> None:
    def tower() -> nn.Module:
        block = nn.ModuleDict({"conv1": nn.Conv2d(1, 1, 1)})
        return nn.ModuleDict({"layer1": nn.ModuleList([block])})

    with pytest.raises(ValueError, match=r"its layer1\.0\.conv1: a\.layer1.* and b\.layer1"):
        spectral_layers(nn.ModuleDict({"a": tower(), "b": tower()}))


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        spectral_layers(nn.ReLU())
