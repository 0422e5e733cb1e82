"""Compiled Triton kernels in emulation, for both kinds of tensor core."""

from __future__ import annotations

import re

import pytest
import torch

from gpu.emulation.requirements import missing_compiler

pytest.importorskip("triton", reason="needs triton, which is not installed")

import triton

from gpu import small_kernels as kernels
from gpu.emulation.kernel import EmulatedFault, Kernel
from gpu.emulation.triton_driver import EmulatedGpu, emulating
from gpu.evidence.changes import EMULATOR, rests_on

pytestmark = [
    rests_on(EMULATOR),
    pytest.mark.skipif(missing_compiler() is not None, reason=str(missing_compiler())),
]


def product(
    dtype: torch.dtype, tile: tuple[int, int, int], precision: str = "tf32", **options: int
) -> float:
    """Largest relative error of a product with odd sizes against fp64."""
    rows, columns, depth = 70, 40, 88
    a, b = torch.randn(rows, depth).to(dtype), torch.randn(depth, columns).to(dtype)
    c = torch.full((rows, columns), float("nan"))
    m, n, k = tile
    kernels.matmul[(triton.cdiv(rows, m), triton.cdiv(columns, n))](
        *(a, b, c, rows, columns, depth), BM=m, BN=n, BK=k, PRECISION=precision, **options
    )
    expected = a.double() @ b.double()
    return float((c - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 1e-5), (torch.bfloat16, 1e-5), (torch.float32, 3e-3)],
    ids=str,
)
def test_a_product_on_tensor_cores_equals_fp64(
    emulated_gpu: EmulatedGpu, dtype: torch.dtype, tolerance: float
) -> None:
    # sm_90 uses wgmma, which needs tiles of 64 rows.
    assert product(dtype, (64, 32, 32), num_stages=3) < tolerance
    launch = emulated_gpu.launches[-1]
    instruction = {80: "mma.sync", 90: "wgmma.mma_async"}[emulated_gpu.arch]
    assert instruction in launch.compiled.asm["ptx"]
    assert launch.grid == (2, 2, 1)
    # All tiles, and all of their columns, are computed.
    assert launch.counters.tensor_flops == 2 * 128 * 64 * 96
    assert launch.counters.races == 0


def test_an_exact_product_in_float32_uses_no_tensor_core(emulated_gpu: EmulatedGpu) -> None:
    assert product(torch.float32, (32, 32, 16), "ieee") < 1e-5
    assert emulated_gpu.launches[-1].counters.tensor_flops == 0


def test_reductions_over_lanes_and_warps(emulated_gpu: EmulatedGpu) -> None:
    x = torch.randn(3, 300).half()
    y = torch.empty_like(x)
    kernels.softmax[(3,)](x, y, 300, BLOCK=512)
    torch.testing.assert_close(y.float(), x.float().softmax(1), rtol=0, atol=1e-4)


def test_bf16_arithmetic_rounds_like_torch(emulated_gpu: EmulatedGpu) -> None:
    x = torch.randn(200).bfloat16()
    y = torch.empty_like(x)
    kernels.polynomial[(2,)](x, y, 200, BLOCK=128)
    # The compiler fuses the product and the sum.
    torch.testing.assert_close(y.float(), x.float() * x.float() + x.float(), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_atomics_add_up(emulated_gpu: EmulatedGpu, dtype: torch.dtype) -> None:
    x = torch.zeros(4, dtype=dtype)
    kernels.add_atomically[(3,)](x, BLOCK=64)
    assert x.tolist() == [48.0] * 4


def test_autotuned_kernels_run_every_configuration() -> None:
    x, y = torch.randn(290), torch.empty(290)
    with emulating(80) as gpu:
        kernels.double[lambda meta: (triton.cdiv(290, meta["BLOCK"]),)](x, y, 290)
    assert torch.equal(y, 2 * x)
    assert {launch.grid for launch in gpu.launches} == {(5, 1, 1), (3, 1, 1)}


def test_an_access_past_the_end_is_caught(emulated_gpu: EmulatedGpu) -> None:
    with pytest.raises(EmulatedFault, match="out-of-bounds global load"):
        kernels.copy_unmasked[(2,)](torch.zeros(100), torch.zeros(128), BLOCK=64)


def test_nothing_is_left_of_the_driver() -> None:
    before = triton.runtime.driver._active
    with pytest.raises(ZeroDivisionError), emulating(80):
        raise ZeroDivisionError
    assert triton.runtime.driver._active is before


def mutants(ptx: str) -> list[tuple[str, str]]:
    """(what was changed, PTX) for every barrier dropped and every wait made weaker, one a time."""
    changes = []
    for match in re.finditer(r"bar\.sync\s+0;|(cp\.async|wgmma)\.wait_group(\.\w+)*\s+(\d+);", ptx):
        weaker = "" if match[3] is None else f"{match[0].split()[0]} {int(match[3]) + 8};"
        mutant = ptx[: match.start()] + weaker + ptx[match.end() :]
        changes.append((f"{match[0]} at {ptx.count(chr(10), 0, match.start()) + 1}", mutant))
    return changes


@pytest.mark.slow
def test_every_dropped_barrier_or_wait_of_a_pipelined_product_is_caught(
    emulated_gpu: EmulatedGpu,
) -> None:
    # In halves: in float32, Triton waits twice for some copies, and one wait may go.
    dtype = torch.float16
    product(dtype, (64, 32, 32), num_stages=3)
    launch = emulated_gpu.launches[-1]
    metadata = launch.compiled.metadata
    a, b = torch.randn(64, 256).to(dtype), torch.randn(256, 32).to(dtype)
    expected = a.double() @ b.double()

    def survives(ptx: str) -> bool:
        c = torch.full((64, 32), float("nan"))
        # strides of 1 and the like are constants of the compiled kernel.
        args = [a, b, c, 64, 32, 256, 0, 0]
        try:
            Kernel(ptx).launch((1, 1), (32 * metadata.num_warps,), args, metadata.shared, seed=1)
        except EmulatedFault:
            return False
        return bool((c - expected).abs().max() < 1e-2 * expected.abs().max())

    ptx = launch.compiled.asm["ptx"]
    assert survives(ptx)
    found = mutants(ptx)
    assert len(found) >= 4
    assert [what for what, mutant in found if survives(mutant)] == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_transposed_operands(emulated_gpu: EmulatedGpu, dtype: torch.dtype) -> None:
    a, b, c = torch.randn(64, 64).to(dtype), torch.randn(64, 64).to(dtype), torch.empty(64, 64)
    kernels.transposed_matmul[(1,)](a, b, c, BLOCK=64)
    expected = a.double().t() @ b.double().t()
    assert (c - expected).abs().max() < 3e-3 * expected.abs().max()


@pytest.mark.slow
def test_int8_products_are_exact() -> None:
    a, b = (torch.randint(-128, 128, (64, 64), dtype=torch.int8) for _ in range(2))
    c = torch.empty(64, 64, dtype=torch.int32)
    with emulating(80):
        kernels.int8_matmul[(1,)](a, b, c, BLOCK=64)
    assert torch.equal(c, a.int() @ b.int())


@pytest.mark.slow
def test_scans_sorts_and_gathers(emulated_gpu: EmulatedGpu) -> None:
    x = torch.randn(128)
    sums, ordered = torch.empty(128), torch.empty(128)
    kernels.sort_and_sum[(1,)](x, sums, ordered, BLOCK=128)
    torch.testing.assert_close(sums, x.cumsum(0), rtol=0, atol=1e-4)
    assert torch.equal(ordered, x.sort()[0])
    rows, index = torch.randn(16, 16), torch.randint(0, 16, (16, 16), dtype=torch.int32)
    taken = torch.empty(16, 16)
    kernels.gather_rows[(1,)](rows, index, taken, BLOCK=16)
    assert torch.equal(taken, rows.gather(1, index.long()))


@pytest.mark.slow
def test_special_functions(emulated_gpu: EmulatedGpu) -> None:
    x = torch.randn(256)
    y = torch.empty(256)
    kernels.functions[(1,)](x, y, BLOCK=256)
    expected = x.erf() + x.sigmoid() + (x.abs() + 1).log() + x.abs().sqrt()
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5)
