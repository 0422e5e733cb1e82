"""CSR with row swizzle: exact, strict about its own rules, readable 16 bytes at a time."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.formats import CsrWeight, pack, to_csr
from support.oracles import random_mask

shapes = st.one_of(
    st.tuples(st.integers(1, 11), st.integers(1, 9)),
    st.tuples(st.integers(1, 11), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
)


@given(
    shape=shapes,
    density=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    seed=st.integers(0, 99),
)
def test_a_csr_weight_and_its_mask_come_back_exactly(
    shape: tuple[int, ...], density: float, dtype: torch.dtype, seed: int
) -> None:
    mask = random_mask(shape, density, seed=seed)
    weight = torch.randn(shape) * mask
    csr = to_csr(weight, mask, dtype)
    assert torch.equal(csr.to_dense(), weight.to(dtype))
    assert torch.equal(csr.mask(), mask)
    assert csr.kept == int(mask.sum())
    assert csr.density == pytest.approx(float(mask.float().mean()))


@given(shape=shapes, seed=st.integers(0, 99))
def test_the_cpu_format_of_the_same_mask_holds_the_same_weights_in_the_same_order(
    shape: tuple[int, ...], seed: int
) -> None:
    mask = random_mask(shape, 0.4, seed=seed)
    weight = torch.randn(shape) * mask
    csr, packed = to_csr(weight, mask), pack(weight, mask, 1)
    assert torch.equal(csr.values[: csr.kept], packed.values[:, 0])
    assert csr.columns[: csr.kept].tolist() == packed.indices.tolist()
    assert torch.equal(csr.row_ptr, packed.row_ptr)
    # And back: what one unpacks, the other packs alike.
    assert torch.equal(to_csr(packed.to_dense(), packed.mask()).values, csr.values)
    assert torch.equal(pack(csr.to_dense(), csr.mask(), 1).values, packed.values)


def test_a_masked_in_zero_is_stored_and_without_a_mask_negative_zero_is_not() -> None:
    assert to_csr(torch.zeros(1, 3), torch.tensor([[True, False, True]])).kept == 2
    assert to_csr(torch.tensor([[1.0, -0.0]])).kept == 1


def test_nan_under_a_pruned_weight_is_not_stored() -> None:
    weight = torch.tensor([[torch.nan, 1.0]])
    assert to_csr(weight, torch.tensor([[False, True]])).to_dense().tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(("kept", "stored"), [(0, 0), (1, 8), (8, 8), (9, 16)])
def test_the_arrays_end_at_a_multiple_of_eight_with_zeros(kept: int, stored: int) -> None:
    csr = to_csr(torch.ones(1, 20), torch.arange(20)[None] < kept)
    assert csr.values.shape == csr.columns.shape == (stored,)
    assert not csr.values[kept:].any()
    assert not csr.columns[kept:].any()


def test_rows_are_ordered_longest_first_and_equal_ones_as_they_stand() -> None:
    mask = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], dtype=torch.bool)
    assert to_csr(torch.ones(5, 3), mask).row_order.tolist() == [1, 4, 0, 3, 2]


def test_columns_are_ordered_by_tap_then_by_input_channel() -> None:
    weight = torch.zeros(1, 3, 2, 2)
    weight[0, 2, 0, 0] = 1.0  # tap 0
    weight[0, 0, 0, 1] = 2.0  # tap 1
    weight[0, 1, 1, 0] = 3.0  # tap 2
    csr = to_csr(weight)
    assert csr.columns[:3].tolist() == [2, 3, 7]
    assert csr.values[:3].tolist() == [1.0, 2.0, 3.0]


def test_its_bytes_are_those_of_its_tensors_and_another_device_keeps_them() -> None:
    csr = to_csr(torch.ones(3, 5), dtype=torch.float16)
    assert csr.nbytes == 16 * (2 + 4) + 4 * 4 + 3 * 4
    assert csr.to("cpu").nbytes == csr.nbytes


def _valid() -> CsrWeight:
    return to_csr(torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))


def _int32(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shape": (2,)}, ValueError, r"expected a weight shape \(O, I, ...\), got \(2,\)"),
        ({"values": torch.zeros(8).double()}, TypeError, "expected values of float32, float16 or"),
        (
            {"columns": torch.zeros(8)},
            TypeError,
            r"expected columns of dtype torch.int32, got torch.float32",
        ),
        ({"columns": _int32(0, 2, 1)}, ValueError, r"expected columns of shape \(8,\), got \(3,\)"),
        ({"values": torch.zeros(16)[::2]}, ValueError, "expected values to be contiguous"),
        ({"values": torch.zeros(8, device="meta")}, ValueError, "expected columns on meta, got"),
        (
            {"columns": _int32(0, 3, 1, 0, 0, 0, 0, 0)},
            ValueError,
            "expected columns from 0 to 2, got 0 to 3",
        ),
        (
            {"columns": _int32(2, 0, 1, 0, 0, 0, 0, 0)},
            ValueError,
            "expected ascending columns",
        ),
        ({"row_ptr": _int32(0, 2)}, ValueError, r"expected row_ptr of shape \(3,\)"),
        ({"row_ptr": _int32(1, 2, 3)}, ValueError, "expected row_ptr to rise from 0"),
        ({"row_ptr": _int32(0, 4, 3)}, ValueError, "expected row_ptr to rise from 0"),
        ({"row_ptr": _int32(0, 2, 9)}, ValueError, "expected row_ptr to rise from 0"),
        ({"values": torch.ones(8)}, ValueError, "expected zeros past the last row"),
        ({"row_order": _int32(0, 0)}, ValueError, "expected row_order to name every row once"),
        ({"row_order": _int32(1, 0)}, ValueError, "expected row_order with the longest rows first"),
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
        ((torch.zeros(2, 2).double(),), TypeError, "expected a weight of float32, float16 or"),
        ((torch.zeros(2, 2), None, torch.int8), TypeError, "expected values of float32, float16"),
        ((torch.zeros(2, 2), torch.zeros(2, 2)), TypeError, "expected a bool mask"),
        (
            (torch.zeros(2, 2), torch.zeros(2, 3, dtype=torch.bool)),
            ValueError,
            r"expected a mask of shape \(2, 2\), got \(2, 3\)",
        ),
        (
            (torch.full((1, 1), 1e5), None, torch.float16),
            ValueError,
            "expected weights that fit in torch.float16, got 100000",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        to_csr(*arguments)
