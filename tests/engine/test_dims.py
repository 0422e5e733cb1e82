"""Dims: torch's views, as arrangements of a map's axes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.engine.dims import Dims
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.engine.torch_nodes import View
from sparse_ovs.engine.weights import NativeConvWeights


@st.composite
def chains(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, Dims]:
    """A map, a torch view of it, and its dims after the same operations."""
    n, c, h, w = (draw(st.sampled_from([1, 2, 3, 4, 6])) for _ in range(4))
    whole = torch.arange(float(n * c * h * w)).reshape(n, c, h, w)
    layout = draw(st.sampled_from(["NCHW", "NHWC", "NHCW"]))
    if layout == "NHWC":
        whole = whole.contiguous(memory_format=torch.channels_last)
    elif layout == "NHCW":
        whole = whole.transpose(1, 2).contiguous().transpose(1, 2)
    x, dims = whole, Dims.of_map(n, c, h, w)
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["permute", "join", "split", "narrow"]))
        dim = draw(st.integers(0, x.dim() - 1))
        if kind == "permute":
            order = draw(st.permutations(range(x.dim())))
            x, found = x.permute(order), dims.permute(order)
        elif kind == "narrow":
            start = draw(st.integers(0, x.shape[dim] - 1))
            length = draw(st.integers(1, x.shape[dim] - start))
            x, found = x.narrow(dim, start, length), dims.narrow(dim, start, length)
        else:
            shape = list(x.shape)
            if kind == "join" and dim + 1 < x.dim():
                shape[dim : dim + 2] = [shape[dim] * shape[dim + 1]]
            else:
                factor = draw(st.sampled_from([1, 2, 3]))
                if shape[dim] % factor == 0:
                    shape[dim : dim + 1] = [shape[dim] // factor, factor]
            x, found = x.reshape(shape), dims.view(shape)
        if found is None:
            return whole, whole, Dims.of_map(n, c, h, w)
        dims = found
    return whole, x, dims


@given(chains())
def test_dims_tell_where_every_number_of_a_view_lies(
    chain: tuple[torch.Tensor, torch.Tensor, Dims],
) -> None:
    whole, view, dims = chain
    assert dims.shape() == tuple(view.shape)
    factors = tuple(f for dim in dims.factors for f in dim)
    node = View("view", "x", factors, dims.first, tuple(view.shape))
    assert torch.equal(run_in_torch(node, {"x": whole}, NativeConvWeights()), view)


def test_a_split_that_mixes_axes_is_refused() -> None:
    assert Dims.of_map(1, 4, 1, 6).view((3, 8)) is None


def test_images_pixels_and_channels_come_apart_again() -> None:
    dims = Dims.of_map(2, 12, 3, 5)
    tokens = dims.view((2, 12, 15))
    assert tokens is not None
    rows = tokens.permute((2, 0, 1)).view((30, 12))
    assert rows is not None
    assert rows.is_run(1, "c")
    heads = rows.view((15, 2, 3, 4))
    assert heads is not None
    back = heads.permute((1, 2, 3, 0)).view((2, 12, 3, 5))
    assert back == dims
