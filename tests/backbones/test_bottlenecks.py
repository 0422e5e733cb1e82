"""Orders of channels inside bottlenecks: the features stay what they were."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.models import byobnet
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from transformers import ResNetConfig, ResNetModel

from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.bottlenecks import (
    find_internal_channels,
    order_channels,
    permute_internal_channels,
)
from sparse_ovs.backbones.layer_names import framework_name


def _shuffle(model: nn.Module) -> None:
    for channels in find_internal_channels(model):
        count = model.get_submodule(channels.conv).out_channels
        permute_internal_channels(model, channels, torch.randperm(count))


def _used(model: nn.Module) -> nn.Module:
    """In fp64 eval mode, with norms that differ from channel to channel."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
    return model.double().eval()


def _assert_same(maps: list[Tensor], expected: list[Tensor]) -> None:
    assert len(maps) == len(expected)
    for one, other in zip(maps, expected, strict=True):
        assert float(other.abs().max()) > 0
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * float(other.abs().max()))


def test_rn50_has_32_orders_of_channels_inside_its_16_bottlenecks(rn50: Backbone) -> None:
    found = find_internal_channels(rn50)
    assert len(found) == 32
    assert (found[0].conv, found[0].norm, found[0].reader) == (
        "layer1.0.conv1",
        "layer1.0.bn1",
        "layer1.0.conv2",
    )
    assert (found[1].conv, found[1].norm, found[1].reader) == (
        "layer1.0.conv2",
        "layer1.0.bn2",
        "layer1.0.conv3",
    )


def test_any_order_of_rn50s_channels_gives_the_same_features(rn50: Backbone) -> None:
    model = _used(copy.deepcopy(rn50))
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        expected = model(x)
        _shuffle(model)
        _assert_same(model(x), expected)
    changed = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    assert "layer3.2.conv1.weight" in changed
    assert not any(".bn3." in name or "downsample" in name for name in changed)


def test_in_training_the_permuted_network_follows_the_other(rn50: Backbone) -> None:
    model = copy.deepcopy(rn50.layer1[1]).double().train()
    twin = copy.deepcopy(model)
    _shuffle(twin)
    x = torch.randn(2, 256, 8, 8, dtype=torch.float64)
    for network in (model, twin):
        network(x.clone()).square().mean().backward()
        torch.optim.SGD(network.parameters(), 0.1).step()
    with torch.no_grad():
        _assert_same([twin(x.clone())], [model(x.clone())])
        _assert_same([twin.eval()(x.clone())], [model.eval()(x.clone())])


@pytest.mark.parametrize("name", ["resnet50_clip", "resnet26d"])
def test_timms_bottlenecks_are_found_and_permuted(name: str) -> None:
    model = _used(timm.create_model(name, features_only=True))
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    found = find_internal_channels(model)
    assert len(found) == {"resnet50_clip": 32, "resnet26d": 16}[name]
    with torch.no_grad():
        expected = model(x)
        _shuffle(model)
        _assert_same(model(x), expected)


def test_transformers_bottlenecks_are_found_and_permuted() -> None:
    config = ResNetConfig(embedding_size=16, hidden_sizes=[32, 64], depths=[1, 2])
    model = _used(ResNetModel(config))
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert len(find_internal_channels(model)) == 6
    with torch.no_grad():
        expected = model(x).last_hidden_state
        before = copy.deepcopy(model.state_dict())
        _shuffle(model)
        _assert_same([model(x).last_hidden_state], [expected])
    key = "encoder.stages.1.layers.1.layer.1.convolution.weight"
    assert not torch.equal(model.state_dict()[key], before[key])


def test_biases_move_with_their_channels(rn50: Backbone) -> None:
    block = _used(copy.deepcopy(rn50.layer1[1]))
    for conv in (block.conv1, block.conv2):
        conv.bias = nn.Parameter(torch.randn(64, dtype=torch.float64))
    x = torch.randn(1, 256, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        expected = block(x.clone())
        _shuffle(block)
        _assert_same([block(x.clone())], [expected])


def test_parameters_stay_the_objects_an_optimiser_holds(rn50: Backbone) -> None:
    block = copy.deepcopy(rn50.layer1[1])
    held = [id(p) for p in block.parameters()]
    _shuffle(block)
    assert [id(p) for p in block.parameters()] == held


def test_new_channel_i_is_old_channel_order_i(rn50: Backbone) -> None:
    block = copy.deepcopy(rn50.layer1[1])
    old = block.conv1.weight.detach().clone()
    order = torch.randperm(64)
    permute_internal_channels(block, find_internal_channels(block)[0], order)
    assert torch.equal(block.conv1.weight, old[order])


def test_bottlenecks_with_other_layers_inside_are_left_out() -> None:
    class Attention(nn.Module):
        def __init__(self, channels: int, **_: object) -> None:
            super().__init__()
            self.gate = nn.Conv2d(channels, channels, 1)

    grouped = byobnet.BottleneckBlock(16, 16, group_size=4)
    attended = byobnet.BottleneckBlock(
        16, 16, layers=byobnet.LayerFn(attn=Attention), attn_last=False
    )
    plain = byobnet.BottleneckBlock(16, 16)
    assert [len(find_internal_channels(b)) for b in (grouped, attended, plain)] == [0, 0, 2]


def test_weights_that_are_computed_from_others_are_left_out(rn50: Backbone) -> None:
    block = copy.deepcopy(rn50.layer1[1])
    parametrizations.weight_norm(block.conv2)
    assert not find_internal_channels(block)
    masked = copy.deepcopy(rn50.layer1[1])
    nn.utils.prune.l1_unstructured(masked.conv1, "weight", 0.5)
    assert not find_internal_channels(masked)


@pytest.mark.parametrize("order", [[0] * 64, list(range(63)), list(range(1, 65))])
def test_what_is_no_permutation_is_refused(rn50: Backbone, order: list[int]) -> None:
    block = copy.deepcopy(rn50.layer1[1])
    with pytest.raises(ValueError, match="expected a permutation of the 64 channels of conv1"):
        permute_internal_channels(block, find_internal_channels(block)[0], torch.tensor(order))


def _orders(model: nn.Module) -> dict[str, Tensor]:
    return {
        channels.conv: torch.randperm(model.get_submodule(channels.conv).out_channels)
        for channels in find_internal_channels(model)
    }


def test_orders_go_by_the_names_of_any_framework(rn50: Backbone) -> None:
    ours = _used(copy.deepcopy(rn50))
    theirs = nn.ModuleDict({"visual": copy.deepcopy(ours)})
    orders = _orders(ours)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = ours(x)
        order_channels(ours, orders)
        timm_names = {framework_name(name, "timm"): order for name, order in orders.items()}
        order_channels(theirs, timm_names)
        _assert_same(ours(x), expected)
    for name, value in ours.state_dict().items():
        assert torch.equal(theirs["visual"].state_dict()[name], value), name


def test_orders_that_do_not_fit_are_all_named_and_change_nothing(rn50: Backbone) -> None:
    model = copy.deepcopy(rn50)
    before = copy.deepcopy(model.state_dict())
    orders = {
        "layer1.0.conv1": torch.arange(64).flip(0),
        "layer1.0.conv2": torch.zeros(64, dtype=torch.int64),
        "layer1.0.conv3": torch.arange(256),
    }
    message = r"2 that do not: layer1\.0\.conv2 \(no perm.*layer1\.0\.conv3 \(not the first"
    with pytest.raises(ValueError, match=message):
        order_channels(model, orders)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
