"""Counters against what can be counted by hand."""

from __future__ import annotations

import pytest
import torch

from gpu.emulation.kernel import Counters, Kernel
from gpu.emulation.nvrtc import compile_cuda
from gpu.emulation.requirements import missing_compiler, missing_nvrtc
from gpu.evidence.changes import EMULATOR, rests_on
from gpu.small_cuda import COPIES, SPARSE_GEMM, two_four

pytestmark = [
    rests_on(EMULATOR),
    *(
        pytest.mark.skipif(bool(missing()), reason=str(missing()))
        for missing in (missing_compiler, missing_nvrtc)
    ),
]


def launch(name: str, grid: int, args: list[torch.Tensor | int]) -> Counters:
    return Kernel(compile_cuda(COPIES, 80).ptx, name).launch((grid,), (32,), args)


def test_a_copy_of_4_bytes_a_lane_takes_4_sectors_a_request() -> None:
    x, y = torch.randn(160), torch.empty(160)
    c = launch("copy_by_4", 5, [x, y])
    assert torch.equal(x, y)
    assert (c.load_requests, c.load_sectors) == (5, 20)
    assert (c.store_requests, c.store_sectors) == (5, 20)
    assert c.sectors_per_load == 4
    assert c.global_bytes == 2 * 4 * 160


def test_a_copy_of_16_bytes_a_lane_takes_16_sectors_a_request() -> None:
    x, y = torch.randn(640), torch.empty(640)
    c = launch("copy_by_16", 5, [x, y])
    assert torch.equal(x, y)
    assert (c.load_requests, c.load_sectors) == (5, 80)
    assert c.sectors_per_store == 16


@pytest.mark.parametrize(("step", "sectors"), [(1, 4), (2, 8), (4, 16), (8, 32), (16, 32)])
def test_strides_cost_sectors(step: int, sectors: int) -> None:
    c = launch("load_strided", 1, [torch.randn(32 * step), torch.empty(32), step])
    assert c.load_sectors == sectors


@pytest.mark.parametrize(("step", "passes"), [(1, 1), (2, 2), (8, 8), (32, 32), (31, 1), (0, 1)])
def test_strides_cost_passes_over_the_banks(step: int, passes: int) -> None:
    y = torch.empty(32)
    c = launch("read_shared_strided", 1, [y, step])
    assert torch.equal(y, torch.arange(32.0) * step)
    assert c.shared_load_wavefronts == passes
    assert c.shared_store_wavefronts == c.shared_store_requests == 32
    assert c.barriers == 1


@pytest.mark.parametrize(("step", "passes"), [(0, 1), (1, 4), (2, 8), (8, 32)])
def test_reads_of_16_bytes_take_a_pass_for_each_quarter_of_a_warp(step: int, passes: int) -> None:
    y = torch.empty(32, 4)
    c = launch("read_shared_by_16", 1, [y, step])
    assert torch.equal(y[:, 3], torch.arange(32.0) * step)
    assert c.shared_load_wavefronts == passes


def test_lanes_that_stand_aside_are_counted() -> None:
    y = torch.zeros(32)
    x = torch.randn(32)
    c = launch("use_half_a_warp", 1, [x, y])
    torch.testing.assert_close(y[1::2], x[1::2].sin(), rtol=0, atol=1e-6)
    assert not y[::2].any()
    assert c.global_bytes == 2 * 4 * 16
    assert 0 < c.divergent_instructions < c.warp_instructions


def test_local_arrays_belong_to_a_lane() -> None:
    y = torch.cat([torch.randn(16), torch.empty(32)])
    index = torch.arange(32, dtype=torch.int32) % 16
    before = y[:16].clone()
    launch("read_local", 1, [index, y])
    assert torch.equal(y[16:], before[index])


def test_a_product_counts_its_flops_and_what_it_copies() -> None:
    rows, columns, depth = 32, 64, 128
    values, metadata, _ = two_four(rows, depth, torch.Generator().manual_seed(0))
    x, y = torch.zeros(columns, depth).half(), torch.empty(rows, columns)
    kernel = Kernel(compile_cuda(SPARSE_GEMM, 80).ptx)
    args = [values, metadata, x, y, rows, columns, depth]
    c = kernel.launch((columns // 32, rows // 16), (128,), args)
    # Sparse products count as the dense ones that they stand for.
    assert c.tensor_flops == 2 * rows * columns * depth
    assert c.matrix_products == rows // 16 * columns // 8 * depth // 32
    # Each row of blocks copies x once; the last copy, which is not used, once more.
    assert c.async_bytes == rows // 16 * columns * (depth + 32) * 2
    assert c.barriers == 4 * 4 * 2 * depth // 32
    # Rows of 80 bytes keep the eight rows of a matrix in different banks.
    assert c.wavefronts_per_shared_load == 4
    assert c.races == 0
    assert c.instructions_per_mflop(2 * rows * columns * depth) == pytest.approx(
        c.warp_instructions / 0.524288
    )


def test_counts_do_not_depend_on_the_order_of_warps() -> None:
    values, metadata, _ = two_four(16, 64, torch.Generator().manual_seed(0))
    kernel = Kernel(compile_cuda(SPARSE_GEMM, 80).ptx)
    args = [values, metadata, torch.zeros(32, 64).half(), torch.empty(16, 32), 16, 32, 64]
    assert len({kernel.launch((1, 1), (128,), args, seed=seed) for seed in range(3)}) == 1
