"""Dense layers of heads: the same function as torch's, on whichever kernels are fastest."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.nn import DenseConv2d, SparseConv2d, TokenLinear
from sparse_ovs.nn.dense_conv import pointwise
from sparse_ovs.nn.token_linear import token_linear
from support.examples import examples
from support.oracles import assert_as_exact_as_torch


@settings(max_examples=examples(25), deadline=None)
@given(
    tokens=st.sampled_from([1, 7, 511, 512, 700]),
    inside=st.integers(1, 40),
    outside=st.integers(1, 40),
    batch=st.integers(1, 3),
    bias=st.booleans(),
    transposed=st.booleans(),
)
def test_a_token_linear_is_as_exact_as_torch_s(
    tokens: int, inside: int, outside: int, batch: int, bias: bool, transposed: bool
) -> None:
    torch.manual_seed(tokens + inside)
    x = torch.randn(batch, tokens, inside)
    if transposed:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    layer = TokenLinear(inside, outside, bias=bias)
    with torch.no_grad():
        found, plain = layer(x), F.linear(x, layer.weight, layer.bias)
        exact = copy.deepcopy(layer).double()(x.double())
    assert found.shape == plain.shape
    assert found.is_contiguous()
    assert_as_exact_as_torch(found, exact, plain)


def test_thousands_of_tokens_run_as_a_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _count_convolutions(monkeypatch)
    layer, x = TokenLinear(8, 8), torch.randn(2, 512, 8)
    with torch.no_grad():
        layer(x)
        assert len(seen) == 1
        layer(x[:, :100])
        token_linear(x, layer.weight, layer.bias, as_convolution=False)
        layer(x.transpose(0, 1))
    layer(x)
    assert len(seen) == 1


def test_a_token_linear_learns_as_torch_s() -> None:
    layer, x = TokenLinear(5, 4), torch.randn(2, 600, 5)
    twin = nn.Linear(5, 4)
    twin.load_state_dict(layer.state_dict())
    for each in (layer, twin):
        each(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, twin.weight.grad)


@settings(max_examples=examples(25), deadline=None)
@given(
    channels=st.integers(1, 20),
    outside=st.integers(1, 20),
    height=st.sampled_from([1, 16, 33]),
    width=st.sampled_from([31, 40]),
    kernel=st.sampled_from([1, 3]),
    bias=st.booleans(),
    channels_last=st.booleans(),
)
def test_a_dense_convolution_is_as_exact_as_torch_s(
    channels: int,
    outside: int,
    height: int,
    width: int,
    kernel: int,
    bias: bool,
    channels_last: bool,
) -> None:
    torch.manual_seed(channels)
    x = torch.randn(2, channels, height, width)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    layer = DenseConv2d(channels, outside, kernel, padding=kernel // 2, bias=bias)
    with torch.no_grad():
        exact = copy.deepcopy(layer).double()(x.double())
        found = layer(x)
        layer.native = False
        plain = layer(x)
    assert_as_exact_as_torch(found, exact, plain)


@pytest.mark.parametrize("channels", [63, 64, 70])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(23, 31), (40, 24)])
def test_wide_3x3_layers_are_as_exact_in_winograds_scheme(
    channels: int, channels_last: bool, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 68, 3, padding=1)
    x = torch.randn(2, channels, *size)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    layer = SparseConv2d.from_dense(conv, torch.ones_like(conv.weight).bool(), "block4x1")
    with torch.no_grad():
        exact = copy.deepcopy(conv).double()(x.double())
        found, plain = layer(x), conv(x)
    assert_as_exact_as_torch(found, exact, plain)
    assert found.stride() == plain.stride()


@pytest.mark.parametrize(("channels", "winograd"), [(63, False), (64, True)])
def test_winograds_scheme_runs_a_lone_3x3_layer_that_is_wide_enough(
    channels: int, winograd: bool
) -> None:
    x = torch.randn(1, channels, 24, 24)
    conv = nn.Conv2d(channels, 64, 3, padding=1)
    plan = sparse_ovs.compile(nn.Sequential(conv).eval(), x, autotune=False).plan_for(x)
    assert ("winograd" in [row.backend for row in plan.rows()]) == winograd


def test_a_dense_convolution_follows_its_weights() -> None:
    layer, x = DenseConv2d(4, 4, 3, padding=1), torch.randn(1, 4, 32, 32)
    with torch.no_grad():
        layer(x)
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x), _plain(layer, x))
        layer.weight = nn.Parameter(torch.randn(4, 4, 3, 3))
        torch.testing.assert_close(layer(x), _plain(layer, x))
        twin = copy.deepcopy(layer)
        twin.weight.mul_(3)
        torch.testing.assert_close(twin(x), _plain(twin, x))
        torch.testing.assert_close(layer(x), _plain(layer, x))


def test_a_dense_convolution_has_the_state_of_torch_s_and_calls_hooks_once() -> None:
    layer, x = DenseConv2d(4, 6, 1), torch.randn(1, 4, 32, 32)
    calls: list[Tensor] = []
    layer.register_forward_hook(lambda module, inputs, output: calls.append(output))
    with torch.no_grad():
        layer(x)
    assert len(calls) == 1
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert [name for name, _ in layer.named_modules()] == [""]


def test_contiguous_maps_run_natively_without_gradients_alone() -> None:
    layer, x = DenseConv2d(4, 6, 1), torch.randn(1, 4, 32, 32)
    assert layer(x).requires_grad
    assert layer._twin is None
    with torch.no_grad():
        layer(x.contiguous(memory_format=torch.channels_last))
        layer(x[..., :8, :8].contiguous())
        layer(x.double().float()[0])
        assert layer._twin is None
        layer(x)
    assert layer._twin is not None


@pytest.mark.parametrize("height", [4, 40])
def test_a_pointwise_product_has_weights_of_each_image(height: int) -> None:
    torch.manual_seed(0)
    maps, weights, biases = torch.randn(2, 6, height, 20), torch.randn(2, 5, 6), torch.randn(2, 5)
    exact = torch.einsum("noc,nchw->nohw", weights.double(), maps.double())
    exact += biases.double()[..., None, None]
    with torch.no_grad():
        found = pointwise(maps, weights, biases)
        bare = pointwise(maps, weights, None)
    assert_as_exact_as_torch(found, exact, pointwise(maps, weights, biases, native=False))
    exact -= biases.double()[..., None, None]
    assert_as_exact_as_torch(bare, exact, pointwise(maps, weights, None, native=False))


def _plain(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.padding)  # type: ignore[arg-type]


def _count_convolutions(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    seen: list[Tensor] = []
    convolve = F.conv2d

    def counted(x: Tensor, *rest: Tensor) -> Tensor:
        seen.append(x)
        return convolve(x, *rest)

    monkeypatch.setattr(F, "conv2d", counted)
    return seen
