"""What the ops remember of a layer: writes are noticed, memory goes with the structure."""

from __future__ import annotations

import gc

import pytest
import torch

from sparse_ovs import ops
from sparse_ovs.formats import pack
from sparse_ovs.ops import streams
from sparse_ovs.ops.plan_cache import PLANS_KEPT
from support.oracles import random_sparse_weight
from support.problems import ConvProblem, conv_data, run_linear


def test_an_in_place_write_to_the_weight_is_noticed() -> None:
    data = conv_data(ConvProblem(bias=False))
    before = data.run()
    data.weight.mul_(2)
    assert torch.equal(data.run(), 2 * before)


def test_a_write_through_a_view_is_noticed() -> None:
    data = conv_data(ConvProblem(bias=False))
    before = data.run()
    data.weight[3].mul_(2)
    after = data.run()
    assert torch.equal(after[:, 3], 2 * before[:, 3])
    assert torch.equal(after[:, :3], before[:, :3])


def test_a_write_to_the_bias_is_noticed() -> None:
    data = conv_data(ConvProblem(density=0.0))
    assert data.bias is not None
    data.run()
    data.bias.fill_(3.0)
    assert bool((data.run() == 3).all())


@pytest.mark.parametrize("part", range(4))
def test_a_write_to_the_norm_is_noticed(part: int) -> None:
    data = conv_data(ConvProblem(norm=True))
    before = data.run()
    data.norm[part].add_(0.5)
    assert not torch.equal(data.run(), before)
    assert torch.equal(data.run(), data.with_weight(data.weight).run())


def test_another_eps_is_noticed() -> None:
    data = conv_data(ConvProblem(norm=True))
    before = data.run()
    assert not torch.equal(data.run(eps=1.0), before)
    assert torch.equal(data.run(), before)


def test_a_bias_that_comes_or_goes_is_noticed() -> None:
    data = conv_data(ConvProblem())
    before = data.run()
    assert not torch.equal(data.run(bias=None), before)
    assert torch.equal(data.run(), before)


def test_a_write_through_data_is_taken_up_after_invalidate() -> None:
    data = conv_data(ConvProblem(bias=False))
    before = data.run()
    data.weight.data.mul_(2)
    assert torch.equal(data.run(), before)  # no counter tells of it
    ops.invalidate(data.packed.indices)
    assert torch.equal(data.run(), 2 * before)


def test_another_weight_at_the_same_address_is_noticed() -> None:
    # A temporary weight dies with its call; the next one often lies in its memory, with its count.
    data = conv_data(ConvProblem(bias=False))
    before = data.run()
    addresses = set()
    calls = 100
    for call in range(calls):
        factor = 2.0 ** (call % 8)
        weight = data.weight * factor
        addresses.add(weight.data_ptr())
        assert torch.equal(data.run(weight=weight), factor * before)
        del weight
    assert len(addresses) < calls  # else this test shows nothing


def test_a_write_to_a_weight_of_a_linear_layer_is_noticed() -> None:
    weight = random_sparse_weight((9, 12), 0.4)
    packed, x = pack(weight), torch.randn(5, 12)
    before = run_linear(x, weight, packed=packed)
    weight.mul_(2)
    assert torch.equal(run_linear(x, weight, packed=packed), 2 * before)


def test_writes_where_nothing_is_stored_change_nothing() -> None:
    data = conv_data(ConvProblem())
    before = data.run()
    data.weight[~data.mask] = 7.0
    assert torch.equal(data.run(), before)


def test_bytes_are_counted_from_the_first_call_on() -> None:
    data = conv_data(ConvProblem(1, 64, 64))
    indices = data.packed.indices
    assert ops.stream_bytes(indices) == 0
    data.run()
    kept = indices.numel()
    assert 8 * kept <= ops.stream_bytes(indices) <= 40 * kept + 4096


def test_bytes_do_not_grow_with_the_number_of_input_sizes() -> None:
    data = conv_data(ConvProblem(1, 64, 64))
    for size in range(3, 30):
        data.run(x=torch.randn(1, 64, size, size))
    one = conv_data(ConvProblem(1, 64, 64))
    one.run()
    most = PLANS_KEPT + 1
    assert ops.stream_bytes(data.packed.indices) <= most * ops.stream_bytes(one.packed.indices)


def test_what_is_remembered_goes_with_the_structure() -> None:
    gc.collect()
    before = len(streams._streams.all())
    data = conv_data(ConvProblem())
    data.run()
    assert len(streams._streams.all()) == before + 1
    del data
    gc.collect()
    assert len(streams._streams.all()) == before


def test_a_view_of_the_indices_finds_the_same_streams() -> None:
    data = conv_data(ConvProblem())
    data.run()
    views = (data.packed.indices.view(torch.int16), data.packed.indices.detach())
    assert all(streams.streams_of(v) is streams.streams_of(data.packed.indices) for v in views)
