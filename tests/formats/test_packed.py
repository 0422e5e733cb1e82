"""The packed format: exact, and strict about its own rules."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.formats import PackedWeight, pack
from support.oracles import random_mask

shapes = st.one_of(
    st.tuples(st.integers(1, 11), st.integers(1, 9)),
    st.tuples(st.integers(1, 11), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
)


@given(
    shape=shapes,
    density=st.floats(0, 1),
    block_rows=st.sampled_from([1, 4, None]),
    seed=st.integers(0, 99),
)
def test_a_packed_weight_unpacks_exactly(
    shape: tuple[int, ...], density: float, block_rows: int | None, seed: int
) -> None:
    mask = random_mask(shape, density, seed=seed)
    weight = torch.randn(shape) * mask
    packed = pack(weight, mask, block_rows)
    assert torch.equal(packed.to_dense(), weight)
    assert bool((packed.mask() | ~mask).all())
    if packed.block_rows == 1:
        assert torch.equal(packed.mask(), mask)


def test_without_a_mask_the_weights_that_are_not_zero_are_stored_and_negative_zero_is_zero() -> (
    None
):
    packed = pack(torch.tensor([[1.0, -0.0, 0.0, -2.0]]))
    assert packed.indices.tolist() == [0, 3]
    assert packed.values.flatten().tolist() == [1.0, -2.0]


def test_a_masked_in_zero_is_stored() -> None:
    packed = pack(torch.zeros(1, 3), torch.tensor([[True, False, True]]))
    assert packed.indices.tolist() == [0, 2]
    assert packed.density == pytest.approx(2 / 3)


@pytest.mark.parametrize("block_rows", [1, 4])
def test_empty_and_full_tensors_are_weights_like_others(block_rows: int) -> None:
    empty = pack(torch.zeros(5, 3, 3, 3), None, block_rows)
    assert empty.indices.numel() == 0
    assert empty.density == 0
    assert not empty.to_dense().any()
    full = torch.randn(5, 3, 3, 3)
    assert torch.equal(pack(full, None, block_rows).to_dense(), full)
    assert pack(full, None, block_rows).density == 1


@pytest.mark.parametrize("block_rows", [1, 4])
def test_empty_and_full_rows_stand_beside_others(block_rows: int) -> None:
    weight = torch.randn(9, 5) * random_mask((9, 5), 0.3)
    weight[2] = 0
    weight[4] = torch.randn(5)
    weight[8] = 0  # the last, in a block row of its own
    packed = pack(weight, None, block_rows)
    assert torch.equal(packed.to_dense(), weight)
    assert packed.row_ptr.numel() == -(-9 // block_rows) + 1


def test_rows_past_the_weight_hold_zeros() -> None:
    packed = pack(torch.ones(5, 3), None, 4)
    assert packed.values.shape == (6, 4)
    assert packed.values[3:].tolist() == [[1.0, 0.0, 0.0, 0.0]] * 3


def test_columns_are_ordered_by_tap_then_by_input_channel() -> None:
    weight = torch.zeros(1, 3, 2, 2)
    weight[0, 2, 0, 0] = 1.0  # tap 0
    weight[0, 0, 0, 1] = 2.0  # tap 1
    weight[0, 1, 1, 0] = 3.0  # tap 2
    packed = pack(weight)
    assert packed.indices.tolist() == [2, 3, 7]
    assert packed.values.flatten().tolist() == [1.0, 2.0, 3.0]


def test_a_weight_that_is_no_contiguous_tensor_packs_like_one() -> None:
    weight = torch.randn(6, 5, 3, 3) * random_mask((6, 5, 3, 3), 0.3)
    other = pack(weight.contiguous(memory_format=torch.channels_last))
    assert torch.equal(other.values, pack(weight).values)
    assert torch.equal(other.to_dense(), weight)


def test_indices_are_16_bit_up_to_65536_columns_and_32_bit_beyond() -> None:
    widest = torch.zeros(1, 65536)
    widest[0, 65535] = 1
    packed = pack(widest)
    assert packed.indices.dtype == torch.uint16
    assert torch.equal(packed.to_dense(), widest)
    wider = torch.zeros(1, 65537)
    wider[0, 65536] = 1
    packed = pack(wider)
    assert packed.indices.dtype == torch.int32
    assert torch.equal(packed.to_dense(), wider)


def test_blocks_of_four_are_taken_where_nine_slots_of_ten_are_kept() -> None:
    mask = torch.zeros(8, 10, dtype=torch.bool)
    mask[:4, :5] = True  # 20 slots
    assert pack(torch.ones(8, 10), mask).block_rows == 4
    mask[0, :2] = False  # 18 of 20
    assert pack(torch.ones(8, 10), mask).block_rows == 4
    mask[0, 2] = False  # 17 of 20
    assert pack(torch.ones(8, 10), mask).block_rows == 1


def test_integers_may_be_in_blocks_of_two_which_are_taken_where_nine_slots_of_ten_are_kept() -> (
    None
):
    mask = random_mask((8, 16), 0.3, "block2x1")
    weight = torch.randint(1, 127, (8, 16), dtype=torch.int8) * mask
    packed = pack(weight)
    assert packed.block_rows == 2
    assert torch.equal(packed.to_dense(), weight)
    assert packed.to_dense().dtype == torch.int8
    assert pack(weight.float()).block_rows == 1
    assert pack(torch.ones(8, 16, dtype=torch.int8)).block_rows == 4


def test_no_block_straddles_two_groups() -> None:
    ones = torch.ones(12, 3, dtype=torch.int8)
    assert [pack(ones, groups=groups).block_rows for groups in (1, 2, 3, 12)] == [4, 2, 4, 1]
    assert [pack(ones.float(), groups=groups).block_rows for groups in (1, 2, 3)] == [4, 1, 4]


def test_a_tenth_of_the_weights_takes_a_sixth_of_the_bytes_or_less() -> None:
    weight = torch.randn(256, 256, 3, 3)
    for pattern, limit in (("unstructured", 0.155), ("block4x1", 0.115)):
        mask = random_mask(weight.shape, 0.1, pattern)
        assert pack(weight, mask).nbytes <= limit * 4 * weight.numel()


def _valid() -> PackedWeight:
    return pack(torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"block_rows": 2}, ValueError, "expected block_rows of 1 or 4, got 2"),
        (
            {"values": torch.zeros(3, 1, dtype=torch.int8), "block_rows": 3},
            ValueError,
            "expected block_rows of 1, 2 or 4, got 3",
        ),
        ({"shape": (2,)}, ValueError, r"expected a weight shape \(O, I, ...\), got \(2,\)"),
        ({"shape": (2, 0)}, ValueError, "expected a weight shape"),
        (
            {"values": torch.zeros(3, 1, dtype=torch.float64)},
            TypeError,
            r"expected values of dtype torch\.float32, got torch\.float64",
        ),
        ({"values": torch.zeros(3)}, ValueError, r"expected values of shape \(3, 1\), got \(3,\)"),
        (
            {"indices": torch.tensor([0, 2, 1], dtype=torch.int32)},
            TypeError,
            r"expected indices of dtype torch\.uint16, got torch\.int32",
        ),
        (
            {"indices": torch.tensor([0, 3, 1], dtype=torch.uint16)},
            ValueError,
            "expected indices from 0 to 2, got 0 to 3",
        ),
        (
            {"indices": torch.tensor([2, 0, 1], dtype=torch.uint16)},
            ValueError,
            "expected ascending indices",
        ),
        (
            {"indices": torch.tensor([0, 0, 1], dtype=torch.uint16)},
            ValueError,
            "expected ascending indices",
        ),
        (
            {"row_ptr": torch.tensor([0, 3], dtype=torch.int32)},
            ValueError,
            r"expected row_ptr of shape \(3,\), got \(2,\)",
        ),
        (
            {"row_ptr": torch.tensor([0, 4, 3], dtype=torch.int32)},
            ValueError,
            "expected row_ptr to rise from 0 to 3",
        ),
        (
            {"row_ptr": torch.tensor([1, 2, 3], dtype=torch.int32)},
            ValueError,
            "expected row_ptr to rise from 0 to 3",
        ),
        (
            {"values": torch.zeros(3, 2)[:, ::2]},
            ValueError,
            "expected values to be contiguous",
        ),
    ],
)
def test_a_broken_rule_is_refused_at_construction(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dataclasses.replace(_valid(), **change)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(2, 2, dtype=torch.float16),), TypeError, "expected a float32 weight"),
        ((torch.zeros(2, 2), torch.zeros(2, 2)), TypeError, "expected a bool mask"),
        (
            (torch.zeros(2, 2), torch.zeros(2, 3, dtype=torch.bool)),
            ValueError,
            r"expected a mask of shape \(2, 2\), got \(2, 3\)",
        ),
        ((torch.zeros(2, 2), None, 3), ValueError, "expected block_rows of 1 or 4, got 3"),
    ],
)
def test_pack_refuses_what_it_cannot_pack(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pack(*arguments)
