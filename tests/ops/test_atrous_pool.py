"""ops.atrous_pool2x2 and the engine's step against pixels that are looked up one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import ops
from support.examples import examples
from support.oracles import assert_as_exact_as_torch
from support.problems import in_layout

LAYOUTS = ("contiguous", "channels_last", "strided")


def looked_up(x: Tensor, dilation: int) -> Tensor:
    """The definition, by indices."""
    for dim in (2, 3):
        own = torch.arange(x.shape[dim])
        later = torch.where(own + dilation < x.shape[dim], own + dilation, own)
        x = (x + x.index_select(dim, later)) / 2
    return x


class Pooled(nn.Module):
    """A pooling between convolutions, which choose the layout of its maps."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 1)
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        return ops.atrous_pool2x2(self.conv(x), self.dilation)


SIZES = {
    "height": st.integers(1, 20),
    "width": st.integers(1, 40),
    "dilation": st.integers(1, 5),
}


@settings(max_examples=examples(50))
@given(layout=st.sampled_from(LAYOUTS), **SIZES)
def test_any_map_is_pooled_as_defined(layout: str, height: int, width: int, dilation: int) -> None:
    x = in_layout(torch.randn(2, 5, height, width), layout)
    made = ops.atrous_pool2x2(x, dilation)
    assert_as_exact_as_torch(made, looked_up(x.double(), dilation), looked_up(x, dilation))
    assert made.is_contiguous(memory_format=ops.memory_format(x))


@torch.no_grad()
@settings(max_examples=examples(40))
@given(channels=st.integers(1, 40), threads=st.integers(1, 3), **SIZES)
def test_the_engine_pools_as_the_operator(
    channels: int, threads: int, height: int, width: int, dilation: int
) -> None:
    model = Pooled(channels, dilation).eval()
    x = torch.randn(2, 3, height, width)
    fast = sparse_ovs.compile(model, x, threads=threads, autotune=False)
    torch.testing.assert_close(fast(x), model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dilation", [1, 2, 9])
def test_gradients_are_those_of_the_definition(dilation: int) -> None:
    x = torch.randn(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    (ours,) = torch.autograd.grad(ops.atrous_pool2x2(x, dilation), x, grad)
    (plain,) = torch.autograd.grad(looked_up(x, dilation), x, grad)
    torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_it_keeps_to_the_rules_of_a_torch_operator(form: torch.memory_format) -> None:
    x = torch.randn(1, 3, 6, 7).to(memory_format=form).requires_grad_()
    torch.library.opcheck(ops.ATROUS_POOL2X2, (x, 2))


@pytest.mark.parametrize(("shape", "dilation"), [((3, 4, 4), 1), ((1, 3, 4, 4), 0)])
def test_what_is_no_map_or_no_dilation_is_refused(shape: tuple[int, ...], dilation: int) -> None:
    with pytest.raises(ValueError, match=r"expected a map .* and a dilation of at least 1 to pool"):
        ops.atrous_pool2x2(torch.randn(shape), dilation)
