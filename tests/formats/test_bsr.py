"""BSR: exact both ways, one tap a block, and strict about its own rules."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.formats import BsrWeight, pack, pack_bsr
from sparse_ovs.patterns import make_mask
from support.oracles import random_mask

shapes = st.one_of(
    st.tuples(st.integers(1, 11), st.integers(1, 9)),
    st.tuples(st.integers(1, 11), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
)
blocks = st.tuples(st.integers(1, 5), st.integers(1, 5))
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@given(
    shape=shapes,
    block=blocks,
    density=st.floats(0, 1),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_a_weight_in_bsr_unpacks_exactly(
    shape: tuple[int, ...], block: tuple[int, int], density: float, dtype: torch.dtype, seed: int
) -> None:
    mask = random_mask(shape, density, seed=seed)
    weight = torch.randn(shape).to(dtype)
    bsr = pack_bsr(weight, mask, block)
    assert torch.equal(bsr.to_dense(), weight * mask)
    assert bool((bsr.mask() | ~mask).all())


@given(shape=shapes, density=st.floats(0, 1), seed=st.integers(0, 99))
def test_it_holds_the_same_weight_as_the_packed_cpu_format(
    shape: tuple[int, ...], density: float, seed: int
) -> None:
    mask = random_mask(shape, density, seed=seed)
    weight = torch.randn(shape)
    assert torch.equal(pack_bsr(weight, mask, (3, 2)).to_dense(), pack(weight, mask).to_dense())


@given(shape=shapes, block=blocks, density=st.floats(0, 1), seed=st.integers(0, 99))
def test_the_transpose_lists_every_block_once_by_its_channels(
    shape: tuple[int, ...], block: tuple[int, int], density: float, seed: int
) -> None:
    bsr = pack_bsr(torch.randn(shape), random_mask(shape, density, seed=seed), block)
    transpose = bsr.transpose
    assert transpose.row_ptr.numel() == -(-shape[1] // block[1]) + 1
    assert sorted(transpose.blocks.tolist()) == list(range(bsr.values.shape[0]))
    for channels, (start, end) in enumerate(
        zip(transpose.row_ptr[:-1].tolist(), transpose.row_ptr[1:].tolist(), strict=True)
    ):
        entries = transpose.blocks[start:end].long()
        assert bool((bsr.channels[entries] == channels).all())
        assert torch.equal(bsr.taps[entries], transpose.taps[start:end])
        for entry, row in zip(entries.tolist(), transpose.rows[start:end].tolist(), strict=True):
            assert bsr.row_ptr[row] <= entry < bsr.row_ptr[row + 1]
        assert bool((entries.diff() > 0).all())


@given(shape=shapes, block=blocks, density=st.floats(0, 1), seed=st.integers(0, 99))
def test_another_weight_goes_into_the_same_structure_and_back(
    shape: tuple[int, ...], block: tuple[int, int], density: float, seed: int
) -> None:
    bsr = pack_bsr(torch.randn(shape), random_mask(shape, density, seed=seed), block)
    other = torch.randn(shape)
    assert torch.equal(bsr.scatter(bsr.gather(other)), other * bsr.mask())


def test_a_linear_has_the_structure_that_torch_gives_it() -> None:
    weight = torch.randn(12, 8) * random_mask((12, 8), 0.4, "block3x4")
    theirs = weight.to_sparse_bsr((3, 4))
    ours = pack_bsr(weight, None, (3, 4))
    assert torch.equal(ours.row_ptr.long(), theirs.crow_indices())
    assert torch.equal(ours.channels.long(), theirs.col_indices())
    assert torch.equal(ours.values, theirs.values())
    assert not ours.taps.any()


def test_a_block_holds_the_channels_of_one_tap() -> None:
    weight = torch.zeros(4, 6, 3, 3)
    weight[2, 5, 1, 2] = 7
    bsr = pack_bsr(weight, None, (2, 4))
    assert bsr.row_ptr.tolist() == [0, 0, 1]
    assert bsr.taps.tolist() == [5]
    assert bsr.channels.tolist() == [1]
    assert bsr.values.tolist() == [[[0, 7, 0, 0], [0, 0, 0, 0]]]


@pytest.mark.parametrize("shape", [(12, 8), (12, 8, 3, 3)])
def test_a_mask_of_whole_blocks_is_stored_as_it_is(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape)
    mask = make_mask(weight, "block3x4", 0.3)
    bsr = pack_bsr(weight, mask, (3, 4))
    assert torch.equal(bsr.mask(), mask)
    assert bsr.density == pytest.approx(float(mask.float().mean()))
    assert bsr.values.numel() == int(mask.sum())


def test_empty_and_full_tensors_are_weights_like_others() -> None:
    empty = pack_bsr(torch.zeros(5, 3, 3, 3), None, (2, 2))
    assert empty.values.shape == (0, 2, 2)
    assert empty.density == 0
    assert not empty.to_dense().any()
    assert empty.transpose.row_ptr.tolist() == [0, 0, 0]
    full = torch.randn(5, 3, 3, 3)
    assert pack_bsr(full, None, (2, 2)).density == 1


def test_negative_zero_is_zero_and_a_masked_in_zero_is_stored() -> None:
    assert pack_bsr(torch.tensor([[0.0, -0.0]]), None, (1, 1)).values.numel() == 0
    kept = pack_bsr(torch.zeros(1, 2), torch.tensor([[False, True]]), (1, 1))
    assert kept.channels.tolist() == [1]


def test_bytes_are_those_of_values_and_structure() -> None:
    bsr = pack_bsr(torch.ones(4, 8, dtype=torch.float16), None, (2, 4))
    assert bsr.nbytes == 32 * 2 + (3 + 4 + 4) * 4


def test_a_copy_on_a_device_is_the_same_weight() -> None:
    bsr = pack_bsr(torch.randn(5, 6), None, (2, 4))
    assert torch.equal(bsr.to("cpu").to_dense(), bsr.to_dense())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"values": torch.ones(3, 2, 2).double()}, TypeError, "values of float16"),
        ({"values": torch.ones(3, 4)}, ValueError, r"expected values \(blocks, R, C\)"),
        ({"values": torch.ones(3, 2, 2).transpose(1, 2)}, ValueError, "values to be contiguous"),
        ({"row_ptr": torch.tensor([0, 1, 3])}, TypeError, "row_ptr of dtype torch.int32"),
        ({"row_ptr": torch.tensor([0, 3]).int()}, ValueError, "row_ptr of shape"),
        ({"row_ptr": torch.tensor([0, 4, 3]).int()}, ValueError, "to rise from 0 to 3"),
        ({"taps": torch.tensor([0, 2, 4]).int()}, ValueError, "taps from 0 to 3"),
        ({"taps": torch.tensor([0, 0]).int()}, ValueError, "taps of shape"),
        ({"channels": torch.tensor([0, -1, 0]).int()}, ValueError, "channels from 0 to 1"),
        ({"channels": torch.tensor([0, 2, 0]).int()}, ValueError, "channels from 0 to 1"),
        ({"taps": torch.tensor([0, 3, 2]).int()}, ValueError, "got some out of order"),
        ({"shape": (4,)}, ValueError, r"weight shape \(O, I, ...\)"),
    ],
)
def test_a_structure_that_breaks_a_rule_is_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    good = BsrWeight(
        values=torch.ones(3, 2, 2),
        row_ptr=torch.tensor([0, 1, 3]).int(),
        taps=torch.tensor([0, 2, 2]).int(),
        channels=torch.tensor([1, 0, 1]).int(),
        shape=(4, 3, 2, 2),
    )
    with pytest.raises(error, match=message):
        dataclasses.replace(good, **change)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(2, 2).double(),), TypeError, "float16, bfloat16 or float32 weight"),
        ((torch.ones(2, 2), torch.ones(2, 2)), TypeError, "bool mask"),
        ((torch.ones(2, 2), torch.ones(2, 3).bool()), ValueError, "mask of shape"),
        ((torch.ones(2, 2), None, (0, 4)), ValueError, r"block \(R, C\)"),
    ],
)
def test_what_cannot_be_packed_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pack_bsr(*arguments)


def test_weights_and_values_of_another_shape_are_refused() -> None:
    bsr = pack_bsr(torch.ones(4, 4), None, (2, 2))
    with pytest.raises(ValueError, match="expected a weight of"):
        bsr.gather(torch.ones(4, 5))
    with pytest.raises(ValueError, match="expected values of"):
        bsr.scatter(torch.ones(4, 2, 1))
