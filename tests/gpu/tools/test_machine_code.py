"""Reading machine code back, for every architecture, and occupancy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch

from gpu.emulation.architectures import occupancy
from gpu.emulation.requirements import missing_nvrtc

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu import small_kernels as kernels
from gpu.emulation.aot import ARCHS, Compiled, compile_kernel
from gpu.emulation.nvrtc import CudaError, compile_cuda
from gpu.emulation.sass import Section, read_machine_code
from gpu.evidence.changes import EMULATOR, rests_on
from gpu.small_cuda import COPIES, ROW_NORM, SPARSE_GEMM

pytestmark = rests_on(EMULATOR)

Compiling = Callable[[int], AbstractContextManager[list[Compiled]]]
needs_nvrtc = pytest.mark.skipif(missing_nvrtc() is not None, reason=str(missing_nvrtc()))


def compile_product(
    compiling: Compiling, arch: int, dtype: torch.dtype, precision: str
) -> Compiled:
    a, b, c = (
        torch.zeros(128, 64, dtype=dtype),
        torch.zeros(64, 64, dtype=dtype),
        torch.zeros(128, 64),
    )
    with compiling(arch) as compiled:
        kernels.matmul[(2, 1)](
            *(a, b, c, 128, 64, 64), BM=64, BN=64, BK=32, PRECISION=precision, num_stages=4
        )
    return compiled[0]


@pytest.mark.parametrize("arch", ARCHS)
def test_a_half_product_uses_tensor_cores_and_copies_of_16_bytes(
    compiling: Compiling, arch: int
) -> None:
    found = compile_product(compiling, arch, torch.float16, "tf32")
    assert found.arch == arch
    assert found.code.spills == found.code.local_bytes == 0
    assert 0 < found.code.registers <= 255
    expected = {90: "HGMMA", 100: "UTCHMMA"}.get(arch, "HMMA")
    assert expected in {op.split(".")[0] for op in found.code.body.tensor_core}
    if arch < 100:
        loop = found.code.main_loop
        assert loop.tensor_core
        assert loop.count("LDGSTS", "128") > 0
        assert loop.mix["LDGSTS"] == loop.count("LDGSTS", "128")


def test_an_exact_float32_product_does_not(compiling: Compiling) -> None:
    found = compile_product(compiling, 80, torch.float32, "ieee")
    assert found.code.body.tensor_core == ()
    assert found.code.main_loop.mix["FFMA"] > 100


def test_launches_are_compiled_as_they_are_specialised(compiling: Compiling) -> None:
    """A length that 16 divides lets the compiler use accesses of 16 bytes."""
    widths = []
    for n in (512, 511):
        with compiling(80) as compiled:
            kernels.copy[(1,)](torch.zeros(n), torch.zeros(n), n, BLOCK=512)
        widths.append(compiled[0].code.body.count("LDG", "128"))
    assert widths[0] > 0
    assert widths[1] == 0


def test_a_kernel_is_compiled_from_its_types_alone() -> None:
    found = compile_kernel(
        kernels.copy,
        {"x": "*fp32", "y": "*fp32", "n": "i32"},
        {"BLOCK": 512},
        86,
        aligned=("x", "y", "n"),
    )
    assert found.name == "copy"
    assert found.code.body.count("LDG", "128") == found.code.body.mix["LDG"] > 0
    assert found.figures()["spills"] == 0
    assert found.shared_bytes == 0


@needs_nvrtc
@pytest.mark.parametrize("arch", ARCHS)
def test_cuda_is_compiled_for_every_architecture(arch: int) -> None:
    code = read_machine_code(compile_cuda(SPARSE_GEMM, arch).cubin)["sparse_gemm"]
    assert code.shared_bytes >= 2 * 32 * 40 * 2
    assert code.spills == 0
    assert any(".SP" in opcode for opcode in code.main_loop.tensor_core)
    assert code.main_loop.count("LDGSTS", "128") > 0


@needs_nvrtc
def test_spills_are_found() -> None:
    source = """extern "C" __global__ void many(const float* x, float* y) {
      float v[64];
      for (int i = 0; i < 64; i++) v[i] = x[i * 32 + threadIdx.x];
      for (int r = 0; r < 8; r++) {
        for (int i = 0; i < 64; i++) v[i] = v[i] * v[(i * 7 + 1) % 64] + r;
        __syncthreads();
      }
      for (int i = 0; i < 64; i++) y[i * 32 + threadIdx.x] = v[i];
    }"""
    free = read_machine_code(compile_cuda(source, 80).cubin)["many"]
    held = read_machine_code(compile_cuda(source, 80, ("--maxrregcount=32",)).cubin)["many"]
    assert free.spills == free.local_bytes == 0
    assert held.registers <= 32
    assert held.spills > 0


@needs_nvrtc
def test_the_kernels_of_a_file_are_told_apart() -> None:
    codes = read_machine_code(compile_cuda(COPIES, 80).cubin)
    assert codes["copy_by_4"].body.count("LDG", "128") == 0
    assert codes["copy_by_16"].body.count("LDG", "128") == 1
    with pytest.raises(ValueError, match="expected a loop in copy_by_4, got none"):
        codes["copy_by_4"].main_loop  # noqa: B018


@needs_nvrtc
def test_loops_and_barriers_are_found() -> None:
    code = read_machine_code(compile_cuda(ROW_NORM, 80).cubin)["row_norm"]
    assert len(code.loops) >= 3
    assert code.body.mix["BAR"] == 4
    assert code.body.mix["SHFL"] == 20
    assert len(code.main_loop) < len(code.body)


@needs_nvrtc
def test_nvrtc_says_what_is_wrong() -> None:
    with pytest.raises(CudaError, match="undefined"):
        compile_cuda("__global__ void k() { undefined(); }", 80)


def test_instructions_are_counted_by_opcode_and_modifier() -> None:
    section = Section(("LDG.E.128", "LDG.E", "LDGSTS.E.BYPASS.128", "HMMA.16816.F32", "FFMA"))
    assert section.count("LDG") == 2
    assert section.count("LDG", "128") == 1
    assert section.mix["LDGSTS"] == 1
    assert section.tensor_core == ("HMMA.16816.F32",)


@pytest.mark.parametrize(
    ("arch", "registers", "shared", "warps", "blocks", "limit"),
    [
        (80, 24, 0, 8, 8, "warps"),
        (80, 128, 0, 8, 2, "registers"),
        (80, 64, 40 * 1024, 4, 4, "shared memory"),
        (80, 16, 0, 1, 32, "blocks"),
        (86, 32, 0, 8, 6, "warps"),
        (90, 168, 100 * 1024, 4, 2, "shared memory"),
    ],
)
def test_occupancy_follows_the_occupancy_calculator(
    arch: int, registers: int, shared: int, warps: int, blocks: int, limit: str
) -> None:
    found = occupancy(arch, registers, shared, warps)
    assert (found.blocks, found.warps, found.limit) == (blocks, blocks * warps, limit)
