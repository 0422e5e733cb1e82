"""Compiled encoders: the masked dense result, for every size, thread count and kind of host."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.backbones import Backbone
from sparse_ovs.engine.graph import Conv
from support.examples import examples
from support.forks import in_child
from support.models import maps_of, masked_dense
from support.oracles import assert_as_exact_as_torch
from support.small_encoders import Host, Small


def assert_right(compiled: nn.Module, model: nn.Module, x: Tensor) -> list[Tensor]:
    """The compiled maps, after they were found as exact as those of the masked dense model."""
    dense = masked_dense(model)
    with torch.no_grad():
        ours, fp32 = maps_of(compiled(x)), maps_of(dense(x))
        fp64 = maps_of(dense.double()(x.double()))
    assert len(ours) == len(fp64)
    for a, b, c in zip(ours, fp64, fp32, strict=True):
        assert_as_exact_as_torch(a, b, c, scale=float(b.abs().max()))
    return ours


@pytest.fixture(scope="module")
def compiled_rn50(sparse_rn50: Backbone, photo: Tensor) -> nn.Module:
    return sparse_ovs.compile(sparse_rn50, photo)


def test_rn50_is_one_native_segment_with_the_masked_dense_result(
    compiled_rn50: nn.Module, sparse_rn50: Backbone, photo: Tensor
) -> None:
    maps = assert_right(compiled_rn50, sparse_rn50, photo)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (256, 24, 40), (512, 12, 20), (1024, 6, 10), (2048, 3, 5)
    ]  # fmt: skip
    assert "torch" not in str(compiled_rn50)


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (32, 97)])
def test_rn50_of_other_sizes(
    compiled_rn50: nn.Module, sparse_rn50: Backbone, size: tuple[int, int]
) -> None:
    assert_right(compiled_rn50, sparse_rn50, torch.randn(1, 3, *size))


def test_maps_given_out_in_the_midst_of_strips_are_whole(rn50: Backbone) -> None:
    """Dense layers have tiles that do not nest with those of the maps: at this size, what a copy
    reads of the first two maps was not yet there."""
    x = torch.randn(1, 3, 224, 224)
    assert_right(sparse_ovs.compile(rn50, x, autotune=False), rn50, x)


def test_rn50_of_a_batch(compiled_rn50: nn.Module, sparse_rn50: Backbone) -> None:
    assert_right(compiled_rn50, sparse_rn50, torch.randn(3, 3, 64, 64))


def test_rn50_gives_the_same_bits_for_every_thread_count(
    sparse_rn50: Backbone, photo: Tensor
) -> None:
    by_threads = [
        sparse_ovs.compile(sparse_rn50, photo, threads=threads)(photo) for threads in (1, 2, 3)
    ]
    for maps in by_threads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(maps, by_threads[0], strict=True))


@settings(max_examples=examples(40))
@given(
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    batch=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    pattern=st.sampled_from(["unstructured", "block4x1"]),
    threads=st.integers(1, 3),
)
def test_any_size_and_density(
    height: int, width: int, batch: int, density: float, pattern: str, threads: int
) -> None:
    model = Small(density, pattern).eval()
    x = torch.randn(batch, 3, height, width)
    assert_right(sparse_ovs.compile(model, x, threads=threads), model, x)


def test_channels_last_and_strided_inputs() -> None:
    model = Small().eval()
    x = torch.randn(2, 3, 20, 24)
    compiled = sparse_ovs.compile(model, x)
    expected = compiled(x)
    strided = torch.randn(2, 3, 24, 20).transpose(2, 3)
    strided.copy_(x)
    for same in (x.contiguous(memory_format=torch.channels_last), strided):
        assert all(torch.equal(a, b) for a, b in zip(compiled(same), expected, strict=True))


@pytest.mark.parametrize(
    "forward",
    [
        lambda conv, x: torch.sigmoid(conv(torch.sin(x))),
        lambda conv, x: {"map": conv(F.max_pool2d(x, 2)), "mean": conv(x).mean((2, 3))},
        lambda conv, x: conv(x).flatten(1).softmax(1),
        lambda conv, x: F.batch_norm(conv(x).relu(), x.new_ones(3), x.new_full((3,), 2.0)),
        lambda conv, x: torch.cat([conv(x), conv(conv(x)).relu() + x.mean()], 1),
        lambda conv, x: conv(x).relu() + x,
        lambda conv, x: F.relu(F.relu(conv(x)) - 1),
    ],
)
def test_operations_without_a_step_run_in_torch(forward: Callable[..., object]) -> None:
    model = Host(forward).eval()
    compiled = sparse_ovs.compile(model, torch.randn(2, 3, 10, 12))
    for size in ((10, 12), (7, 9)):
        assert_right(compiled, model, torch.randn(2, 3, *size))
    assert "torch" in str(compiled)


def test_a_model_that_returns_its_input_returns_it() -> None:
    model = Host(lambda conv, x: (x, conv(x))).eval()
    x = torch.randn(1, 3, 8, 8)
    same, _ = sparse_ovs.compile(model, x)(x)
    assert torch.equal(same, x)


def test_compiling_changes_neither_the_model_nor_its_mode() -> None:
    model = Small()
    state = copy.deepcopy(model.state_dict())
    compiled = sparse_ovs.compile(model, torch.randn(1, 3, 16, 16))
    assert model.training
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert not any(isinstance(module, nn.Conv2d) for module in compiled.modules())


def test_a_copy_gives_the_same_result() -> None:
    model = Small().eval()
    x = torch.randn(1, 3, 20, 24)
    compiled = sparse_ovs.compile(model, x)
    for a, b in zip(copy.deepcopy(compiled)(x), compiled(x), strict=True):
        assert torch.equal(a, b)


def test_sixteen_callers_at_once_get_their_own_results() -> None:
    model = Small().eval()
    inputs = [torch.randn(1, 3, 16 + i % 4, 24) for i in range(16)]
    compiled = sparse_ovs.compile(model, inputs[0], threads=2)
    expected = [sparse_ovs.compile(model, x, threads=1)(x) for x in inputs]
    with ThreadPoolExecutor(16) as pool:
        for _ in range(5):
            for ours, theirs in zip(pool.map(compiled, inputs), expected, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_plan_runs_in_a_forked_child() -> None:
    model = Small().eval()
    x = torch.randn(1, 3, 40, 40)
    compiled = sparse_ovs.compile(model, x, threads=2)
    expected = compiled(x)
    other = torch.randn(1, 3, 24, 56)

    def same_and_new_size() -> bool:
        again = all(torch.equal(a, b) for a, b in zip(compiled(x), expected, strict=True))
        return again and len(compiled(other)) == 2

    assert in_child(same_and_new_size)


def test_many_sizes_do_not_grow_the_library_s_memory() -> None:
    compiled = sparse_ovs.compile(Small().eval(), torch.randn(1, 3, 16, 16))
    held = []
    for size in range(60):
        compiled(torch.randn(1, 3, 16 + size % 40, 16 + size // 2))
        held.append(compiled.memory().packed_bytes + compiled.memory().stream_bytes)
    assert max(held[30:]) <= 2 * max(held[:10])


def test_bad_input_is_named() -> None:
    model = Small().eval()
    x = torch.randn(1, 3, 16, 16)
    compiled = sparse_ovs.compile(model, x)
    with pytest.raises(TypeError, match=r"expected a float32 input on the CPU, got torch\.float64"):
        compiled(x.double())
    with pytest.raises(ValueError, match=r"expected an input \(N, 3, H, W\), got \(1, 4, 16, 16\)"):
        compiled(torch.randn(1, 4, 16, 16))
    with pytest.raises(ValueError, match=r"expected an input \(N, 3, H, W\), got \(3, 16, 16\)"):
        compiled(x[0])
    with pytest.raises(ValueError, match="expected a float32 example"):
        sparse_ovs.compile(model, x[0])
    with pytest.raises(ValueError, match="expected at least 1 thread, got 0"):
        sparse_ovs.compile(model, x, threads=0)


def test_a_model_of_two_inputs_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    with pytest.raises((ValueError, TypeError)):
        sparse_ovs.compile(Two(), torch.randn(1, 3, 8, 8))


def test_weights_are_packed_once_for_all_sizes(sparse_rn50: Backbone, photo: Tensor) -> None:
    compiled = sparse_ovs.compile(sparse_rn50, photo)
    convs = [node for node in compiled._graph.nodes if isinstance(node, Conv)]
    handles = {conv.name: compiled._weights[conv] for conv in convs}
    compiled(torch.randn(1, 3, 64, 64))
    assert all(compiled._weights[conv] is handles[conv.name] for conv in convs)
