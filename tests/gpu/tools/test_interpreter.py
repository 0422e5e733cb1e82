"""The interpreter: repaired numbers, and what it is watched for."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is not installed")

import numpy as np
import triton
import triton.language as tl

from gpu import small_kernels as kernels
from gpu.emulation.interpreter.formats import convert_float, round_to_tf32
from gpu.emulation.interpreter.probe import Probe, ProbeError
from gpu.evidence.changes import EMULATOR, rests_on

pytestmark = rests_on(EMULATOR)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_arithmetic_rounds_each_step_in_the_operands_type(
    interpreter: Probe, dtype: torch.dtype
) -> None:
    x = torch.randn(200).to(dtype)
    y = torch.empty_like(x)
    kernels.polynomial[(2,)](x, y, 200, BLOCK=128)
    assert torch.equal(y, x * x + x)


def test_conversions_to_bf16_round_to_nearest_even() -> None:
    x = torch.cat([torch.randn(4000), torch.tensor([float("inf"), -0.0, 1 + 2**-8, 1 + 3 * 2**-8])])
    bits = convert_float(x.numpy(), tl.float32, tl.bfloat16, None)
    assert torch.equal(torch.from_numpy(bits.view(np.int16)), x.bfloat16().view(torch.int16))


def test_tf32_keeps_ten_bits_of_mantissa() -> None:
    rounded = round_to_tf32(np.array([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, np.inf], np.float32))
    assert rounded.tolist() == [1 + 2**-10, 1.0, 1 + 2**-9, np.inf]


@pytest.mark.parametrize(
    ("dtype", "precision", "tolerance"),
    [
        (torch.float16, "ieee", 1e-5),
        (torch.bfloat16, "ieee", 1e-5),
        (torch.float32, "ieee", 1e-5),
        (torch.float32, "tf32", 3e-3),
    ],
)
def test_a_product_with_odd_sizes_equals_fp64(
    interpreter: Probe, dtype: torch.dtype, precision: str, tolerance: float
) -> None:
    a, b, c = torch.randn(35, 50).to(dtype), torch.randn(50, 21).to(dtype), torch.empty(35, 21)
    kernels.matmul[(2, 1)](a, b, c, 35, 21, 50, BM=32, BN=32, BK=32, PRECISION=precision)
    expected = a.double() @ b.double()
    error = (c - expected).abs().max() / expected.abs().max()
    assert error < tolerance
    if precision == "tf32":  # Rounded operands show.
        assert error > 1e-5


def test_reductions_and_calls_of_the_language_work(interpreter: Probe) -> None:
    x = torch.randn(4, 30)
    y = torch.empty_like(x)
    kernels.softmax[(4,)](x, y, 30, BLOCK=32)
    torch.testing.assert_close(y, x.softmax(1))


def test_reductions_of_bf16_are_refused(interpreter: Probe) -> None:
    with pytest.raises(NotImplementedError, match="cast to float32 first"):
        kernels.sum_masked[(1,)](torch.ones(8).bfloat16(), torch.empty(1).bfloat16(), 8, BLOCK=8)


def test_bytes_sectors_and_flops_are_counted(interpreter: Probe) -> None:
    x, y = torch.randn(100), torch.empty(100)
    kernels.copy[(2,)](x, y, 100, BLOCK=64)
    assert interpreter.counts["load_bytes"] == interpreter.counts["store_bytes"] == 400
    assert interpreter.counts["load_sectors"] == 8 + 5  # 64 and 36 floats, 8 to a sector.
    a = torch.randn(32, 64)
    kernels.matmul[(1, 1)](
        a,
        a.t().contiguous(),
        torch.empty(32, 32),
        32,
        32,
        64,
        BM=32,
        BN=32,
        BK=32,
        PRECISION="ieee",
    )
    assert interpreter.counts["dot_flops"] == 2 * 32 * 32 * 64
    assert interpreter.counts["dots"] == 2


@pytest.mark.parametrize(("x", "y", "what"), [(60, 64, "load"), (64, 60, "store")])
def test_an_access_past_the_end_of_a_tensor_is_caught(
    interpreter: Probe, x: int, y: int, what: str
) -> None:
    whole = torch.zeros(200)  # The view ends, though the memory goes on.
    with pytest.raises(ProbeError, match=rf"out-of-bounds {what} .* program \(1, 0, 0\)"):
        kernels.copy_unmasked[(2,)](whole[:x], torch.zeros(200)[:y], BLOCK=32)


def test_a_misaligned_access_is_caught(interpreter: Probe) -> None:
    raw = torch.zeros(65, dtype=torch.uint8)
    shifted = raw[1:].view(torch.int8)
    as_floats = triton.reinterpret(shifted, tl.float32)
    with pytest.raises(ProbeError, match="misaligned load of 4 bytes"):
        kernels.copy_unmasked[(1,)](as_floats, torch.zeros(16), BLOCK=16)


def test_two_programs_that_store_to_one_address_are_caught(interpreter: Probe) -> None:
    y = torch.zeros(16, dtype=torch.int32)
    kernels.store_everywhere[(1,)](y, BLOCK=16)
    with pytest.raises(ProbeError, match="race: program"):
        kernels.store_everywhere[(2,)](y, BLOCK=16)


def test_launches_that_follow_one_another_do_not_race(interpreter: Probe) -> None:
    y = torch.zeros(16, dtype=torch.int32)
    for _ in range(2):
        kernels.store_everywhere[(1,)](y, BLOCK=16)


def test_a_program_that_reads_what_another_writes_is_caught(interpreter: Probe) -> None:
    x = torch.zeros(64)
    with pytest.raises(ProbeError, match=r"program \(1, 0, 0\) loads what program \(0, 0, 0\)"):
        kernels.copy_unmasked[(2,)](x[:32], x[16:48], BLOCK=16)


def test_atomics_of_several_programs_do_not_race(interpreter: Probe) -> None:
    x = torch.zeros(4)
    kernels.add_atomically[(3,)](x, BLOCK=16)
    assert x.tolist() == [12.0] * 4
    assert interpreter.counts["atomic_bytes"] == 3 * 16 * 4


def test_masked_lanes_hold_nan(interpreter: Probe) -> None:
    y = torch.zeros(1)
    kernels.sum_masked[(1,)](torch.ones(10), y, 10, BLOCK=16)
    assert y.isnan()


def test_device_assert_fires(interpreter: Probe) -> None:
    kernels.asserting[(1,)](torch.ones(16), BLOCK=16)
    with pytest.raises(AssertionError, match="expected positive numbers"):
        kernels.asserting[(1,)](-torch.ones(16), BLOCK=16)


def test_autotuned_kernels_run(interpreter: Probe) -> None:
    x, y = torch.randn(300), torch.empty(300)
    kernels.double[lambda meta: (triton.cdiv(300, meta["BLOCK"]),)](x, y, 300)
    assert torch.equal(y, 2 * x)


def test_the_compiler_works_after_the_interpreter() -> None:
    from gpu.emulation.aot import compiling
    from gpu.emulation.interpreter.session import interpreting

    x, y = torch.randn(4, 30), torch.empty(4, 30)
    with interpreting():
        kernels.softmax[(4,)](x, y, 30, BLOCK=32)
    with compiling(80) as compiled:
        kernels.softmax[(4,)](x, y, 30, BLOCK=32)
    assert compiled[0].name == "softmax"
    with pytest.raises(RuntimeError, match="Cannot call"):
        kernels.square_plus(1.0)
