"""ops.avg_pool2x2 against torch's average pooling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import sparse_ovs
from sparse_ovs import ops
from support.examples import examples
from support.oracles import assert_as_exact_as_torch
from support.problems import in_layout

LAYOUTS = ("contiguous", "channels_last", "strided")


@settings(max_examples=examples(100))
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 40),
    height=st.integers(2, 40),
    width=st.integers(2, 40),
    layout=st.sampled_from(LAYOUTS),
    threads=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_any_map_is_pooled_as_exactly_as_by_torch(
    batch: int, channels: int, height: int, width: int, layout: str, threads: int, seed: int
) -> None:
    sparse_ovs.set_num_threads(threads)
    generator = torch.Generator().manual_seed(seed)
    x = in_layout(torch.randn(batch, channels, height, width, generator=generator), layout)
    assert_as_exact_as_torch(
        ops.avg_pool2x2(x), F.avg_pool2d(x.double(), 2), F.avg_pool2d(x.contiguous(), 2)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_thread_count_gives_the_same_bits(layout: str) -> None:
    x = torch.randn(2, 40, 63, 65)
    sparse_ovs.set_num_threads(1)
    alone = ops.avg_pool2x2(x)
    for threads in (1, 2, 3, 4):
        sparse_ovs.set_num_threads(threads)
        assert torch.equal(ops.avg_pool2x2(in_layout(x, layout)), alone)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_channels_last_stays_channels_last(layout: str) -> None:
    y = ops.avg_pool2x2(in_layout(torch.randn(2, 3, 8, 6), layout))
    last = y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
    assert last == (layout == "channels_last")


def test_an_empty_batch_gives_an_empty_map() -> None:
    assert ops.avg_pool2x2(torch.randn(0, 3, 8, 6)).shape == (0, 3, 4, 3)


@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
def test_the_gradient_is_torch_s(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, requires_grad=True)
    grad = torch.randn(2, 3, size[0] // 2, size[1] // 2)
    (ours,) = torch.autograd.grad(ops.avg_pool2x2(x), x, grad)
    (torchs,) = torch.autograd.grad(F.avg_pool2d(x, 2), x, grad)
    assert torch.equal(ours, torchs)


def test_a_map_of_another_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a float32 map to pool, got torch\.float64"):
        ops.avg_pool2x2(torch.randn(1, 3, 4, 4).double())


@pytest.mark.parametrize("shape", [(1, 3, 1, 4), (1, 3, 4, 1), (3, 4, 4)])
def test_a_map_too_small_to_pool_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a map of at least 2x2 pixels to pool, got \("):
        ops.avg_pool2x2(torch.randn(shape))


def test_no_reason_speaks_against_pooling() -> None:
    assert ops.avg_pool_dtypes()["native"] == (torch.float32,)
