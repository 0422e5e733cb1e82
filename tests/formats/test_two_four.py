"""2:4 and its residue: nothing is lost, and lanes find what the instruction wants of them."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.formats import (
    TwoFourWeight,
    find_channel_order,
    pack,
    to_two_four,
    two_four_fit,
)
from support.examples import examples
from support.oracles import random_mask

shapes = st.one_of(
    st.tuples(st.integers(1, 35), st.integers(1, 70)),
    st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
)


def instruction_operand(values: Tensor, metadata: Tensor, selector: int) -> Tensor:
    """The 16 x 32 matrix that `mma.sp.m16n8k32` sees, spelled out from the PTX ISA lane by lane.

    values: (32, 8) of one instruction; metadata: (32,).
    """
    matrix = torch.zeros(16, 32)
    for lane in range(32):
        group, thread = divmod(lane, 4)
        for i in range(8):
            row = group if i < 2 or 4 <= i < 6 else group + 8
            stored = thread * 2 + (i & 1) + (8 if i >= 4 else 0)  # of the 16 stored columns
            quad_group, slot = divmod(stored, 2)
            word = int(metadata[group * 4 + selector * 2 + quad_group // 4])
            half = word & 0xFFFF if row < 8 else word >> 16 & 0xFFFF
            position = half >> (4 * (quad_group % 4) + 2 * slot) & 3
            matrix[row, quad_group * 4 + position] = float(values[lane, i])
    return matrix


@settings(max_examples=examples(60))
@given(
    shape=shapes,
    density=st.floats(0, 1),
    dtype=st.sampled_from([torch.float16, torch.bfloat16]),
    seed=st.integers(0, 99),
    permuted=st.booleans(),
)
def test_any_weight_comes_back_exactly(
    shape: tuple[int, ...], density: float, dtype: torch.dtype, seed: int, permuted: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = random_mask(shape, density, seed=seed)
    weight = torch.randn(shape, generator=generator) * mask
    order = torch.randperm(shape[1], generator=generator) if permuted else None
    stored = to_two_four(weight, mask, dtype, order)
    assert torch.equal(stored.to_dense(), weight.to(dtype))
    assert stored.residue.kept == two_four_fit(mask, order).residue


def test_the_cpu_format_of_the_same_mask_holds_the_same_weights() -> None:
    mask = random_mask((24, 20, 3, 3), 0.4)
    weight = (torch.randn(24, 20, 3, 3) * mask).half().float()
    stored, packed = to_two_four(weight, mask), pack(weight, mask)
    assert torch.equal(stored.to_dense().float(), packed.to_dense())
    # And back: what one unpacks, the other packs alike.
    again = to_two_four(packed.to_dense(), packed.mask())
    assert torch.equal(again.values, stored.values)
    assert torch.equal(again.residue.values, stored.residue.values)
    assert torch.equal(pack(stored.to_dense().float()).values, packed.values)


def test_lanes_and_metadata_are_laid_out_as_the_instruction_reads_them() -> None:
    weight = torch.randn(32, 128) * random_mask((32, 128), 0.5, "2:4")
    stored = to_two_four(weight, dtype=torch.bfloat16)
    assert stored.residue.kept == 0
    expected = weight.bfloat16().float()
    for tile in range(2):
        for step in range(2):
            for i in range(2):
                found = instruction_operand(
                    stored.values[tile, step, i], stored.metadata[tile, step], i
                )
                first = step * 64 + i * 32
                rows = expected[tile * 16 : tile * 16 + 16, first : first + 32]
                assert torch.equal(found, rows)


def test_a_step_never_crosses_a_tap() -> None:
    weight = torch.randn(1, 3, 1, 2)
    stored = to_two_four(weight)
    assert stored.steps == 2
    first = instruction_operand(stored.values[0, 0, 0], stored.metadata[0, 0], 0)
    # Three channels: the third has no slot in its group.
    assert first[0, :2].tolist() == weight[0, :2, 0, 0].half().tolist()
    assert stored.residue.columns[:2].tolist() == [2, 5]


def test_an_empty_weight_has_valid_metadata() -> None:
    stored = to_two_four(torch.zeros(5, 3))
    assert not stored.values.any()
    assert stored.metadata.unique().tolist() == [0x44444444]  # positions 0 and 1 everywhere


def test_a_full_weight_leaves_half_of_itself_to_the_residue() -> None:
    weight = torch.randn(16, 64)
    stored = to_two_four(weight)
    assert stored.residue.kept == 512
    assert torch.equal(stored.to_dense(), weight.half())


def test_the_residue_and_the_slots_are_in_the_order_of_the_channels_that_was_asked_for() -> None:
    order = torch.tensor([4, 0, 3, 1, 2])
    weight = torch.tensor([[10.0, 11.0, 12.0, 13.0, 14.0]])
    stored = to_two_four(weight, channel_order=order)
    operand = instruction_operand(stored.values[0, 0, 0], stored.metadata[0, 0], 0)
    assert operand[0, :5].tolist() == [14.0, 10.0, 0.0, 0.0, 12.0]
    assert stored.residue.columns[:2].tolist() == [2, 3]
    assert stored.residue.values[:2].tolist() == [13.0, 11.0]


def test_the_fit_counts_groups_and_weights_without_a_slot() -> None:
    mask = torch.tensor([[1, 1, 1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1, 0]]).bool()
    fit = two_four_fit(mask)
    assert (fit.groups, fit.fitting, fit.kept, fit.residue) == (6, 4, 10, 3)
    assert fit.fitting_share == pytest.approx(2 / 3)
    assert fit.residue_share == pytest.approx(0.3)
    assert two_four_fit(torch.zeros(2, 4).bool()).residue_share == 0


def test_nearly_all_groups_of_a_random_mask_of_density_a_tenth_fit() -> None:
    fit = two_four_fit(random_mask((256, 256, 3, 3), 0.1))
    assert 0.995 < fit.fitting_share < 0.998  # 1 - 4 * 0.1^3 * 0.9 - 0.1^4 = 0.9963
    assert fit.residue_share < 0.011


def test_an_order_of_the_channels_leaves_less_to_the_residue() -> None:
    # Channels come in two kinds, four busy ones beside four idle ones.
    busy = (torch.arange(64) // 4 % 2 == 0)[None, :, None, None]
    mask = random_mask((48, 64, 3, 3), 0.6) & busy | random_mask((48, 64, 3, 3), 0.05, seed=1)
    order = find_channel_order(mask)
    assert sorted(order.tolist()) == list(range(64))
    assert two_four_fit(mask, order).residue < 0.5 * two_four_fit(mask).residue
    assert torch.equal(order, find_channel_order(mask))


def test_a_mask_that_an_order_makes_fit_wholly_is_found() -> None:
    fits = random_mask((32, 16), 0.5, "2:4")
    shuffled = fits[:, torch.randperm(16, generator=torch.Generator().manual_seed(2))]
    assert two_four_fit(shuffled).residue > 0
    assert two_four_fit(shuffled, find_channel_order(shuffled)).residue == 0


@given(shape=shapes, density=st.floats(0, 1), seed=st.integers(0, 9))
@settings(max_examples=examples(30))
def test_no_order_is_worse_than_none(shape: tuple[int, ...], density: float, seed: int) -> None:
    mask = random_mask(shape, density, seed=seed)
    order = find_channel_order(mask, rounds=4)
    assert two_four_fit(mask, order).residue <= two_four_fit(mask).residue


def test_channels_past_the_last_whole_group_stay_where_they_are() -> None:
    order = find_channel_order(random_mask((9, 22), 0.7))
    assert order[20:].tolist() == [20, 21]


def test_its_bytes_are_those_that_a_kernel_reads_and_another_device_keeps_them() -> None:
    stored = to_two_four(torch.randn(16, 64) * random_mask((16, 64), 0.5, "2:4"))
    assert stored.nbytes == 16 * 32 * 2 + 32 * 4 + stored.residue.nbytes
    assert stored.to("cpu").nbytes == stored.nbytes


def _valid() -> TwoFourWeight:
    return to_two_four(torch.ones(16, 64))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shape": (16,)}, ValueError, r"expected a weight shape \(O, I, ...\), got \(16,\)"),
        (
            {"values": torch.zeros(1, 1, 2, 32, 8)},
            TypeError,
            "expected values of float16 or bfloat16, got torch.float32",
        ),
        (
            {"values": torch.zeros(1, 1, 2, 32, 8, dtype=torch.bfloat16)},
            ValueError,
            "expected a residue of torch.bfloat16",
        ),
        (
            {"values": torch.zeros(1, 2, 32, 8).half()},
            ValueError,
            r"expected values of shape \(1, 1, 2, 32, 8\), got \(1, 2, 32, 8\)",
        ),
        ({"metadata": torch.zeros(1, 1, 32)}, TypeError, "expected metadata of dtype torch.int32"),
        (
            {"metadata": torch.zeros(1, 1, 32, dtype=torch.int32)},
            ValueError,
            "expected ascending positions in the metadata",
        ),
        (
            {"metadata": torch.zeros(1, 1, 64, dtype=torch.int32)[..., ::2]},
            ValueError,
            "expected metadata to be contiguous",
        ),
        (
            {"channel_order": torch.zeros(64, dtype=torch.int32)},
            ValueError,
            "expected a channel order that names each of 64 channels once",
        ),
        ({"residue": to_two_four(torch.ones(16, 32)).residue}, ValueError, "expected a residue of"),
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
        (
            (torch.zeros(2, 2), None, torch.float32),
            TypeError,
            "expected values of float16 or bfloat16, got torch.float32",
        ),
        ((torch.full((1, 1), 1e5),), ValueError, "expected weights that fit in torch.float16"),
        (
            (torch.zeros(2, 2), None, torch.float16, torch.tensor([0, 0])),
            ValueError,
            "expected a channel order that names each of 2 channels once",
        ),
        (
            (torch.zeros(2, 2), None, torch.float16, torch.tensor([0.0, 1.0])),
            ValueError,
            "expected a channel order of 2 integers, got torch.float32",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        to_two_four(*arguments)


def test_the_fit_and_the_order_want_a_bool_mask() -> None:
    for function in (two_four_fit, find_channel_order):
        with pytest.raises(TypeError, match=r"expected a bool mask, got torch\.float32"):
            function(torch.ones(4, 4))
