"""Mutations of kernels that are right: each fault that a GPU would show, or hide, is caught."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from gpu.emulation.kernel import EmulatedFault, Kernel
from gpu.emulation.nvrtc import compile_cuda
from gpu.emulation.requirements import missing_compiler, missing_nvrtc
from gpu.evidence.changes import EMULATOR, rests_on
from gpu.small_cuda import COPIES, ROW_NORM, SPARSE_GEMM, two_four

pytestmark = [
    rests_on(EMULATOR),
    *(
        pytest.mark.skipif(bool(missing()), reason=str(missing()))
        for missing in (missing_compiler, missing_nvrtc)
    ),
]


def mutate(ptx: str, pattern: str, replacement: str, occurrence: int = 0) -> str:
    """The PTX with one match of the pattern replaced."""
    match = list(re.finditer(pattern, ptx))[occurrence]
    return ptx[: match.start()] + match.expand(replacement) + ptx[match.end() :]


def row_norm(ptx: str, seed: int = 1) -> tuple[Tensor, Tensor]:
    """What the kernel gives, and what it should."""
    x = torch.randn(3, 300, generator=torch.Generator().manual_seed(0))
    y = torch.full_like(x, float("nan"))
    Kernel(ptx).launch((3,), (128,), [x, y, 300], seed=seed)
    wide = x.double()
    spread = wide.var(1, unbiased=False, keepdim=True)
    return y, (wide - wide.mean(1, keepdim=True)) / (spread + 1e-5).sqrt()


def sparse_gemm(ptx: str, seed: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    values, metadata, weight = two_four(32, 128, random)
    x = torch.randn(64, 128, generator=random).half()
    y = torch.full((32, 64), float("nan"))
    Kernel(ptx).launch((2, 2), (128,), [values, metadata, x, y, 32, 64, 128], seed=seed)
    return y, weight.double() @ x.double().t()


@pytest.fixture(scope="module")
def norm_ptx() -> str:
    return compile_cuda(ROW_NORM, 80).ptx


@pytest.fixture(scope="module")
def gemm_ptx() -> str:
    return compile_cuda(SPARSE_GEMM, 80).ptx


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_unchanged_kernels_are_right_in_any_order_of_warps(
    norm_ptx: str, gemm_ptx: str, seed: int
) -> None:
    for y, expected in (row_norm(norm_ptx, seed), sparse_gemm(gemm_ptx, seed)):
        torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)


def test_the_kernel_compiled_for_sm_90_gives_the_same(gemm_ptx: str) -> None:
    y, _ = sparse_gemm(gemm_ptx)
    newer, _ = sparse_gemm(compile_cuda(SPARSE_GEMM, 90).ptx)
    assert torch.equal(y, newer)


@pytest.mark.parametrize("barrier", [0, 1, 2])
def test_a_dropped_barrier_between_shared_accesses_is_caught(norm_ptx: str, barrier: int) -> None:
    # The fourth ends the kernel's use of shared memory, and nothing follows it.
    assert len(re.findall(r"bar\.sync", norm_ptx)) == 4
    with pytest.raises(EmulatedFault, match="race"):
        row_norm(mutate(norm_ptx, r"bar\.sync\s+0;", "", barrier))


@pytest.mark.parametrize("barrier", [0, 1])
def test_a_dropped_barrier_around_asynchronous_copies_is_caught(
    gemm_ptx: str, barrier: int
) -> None:
    with pytest.raises(EmulatedFault, match=r"race|in flight"):
        sparse_gemm(mutate(gemm_ptx, r"bar\.sync\s+0;", "", barrier))


def test_a_wait_that_leaves_one_group_more_is_caught(gemm_ptx: str) -> None:
    mutated = mutate(gemm_ptx, r"cp\.async\.wait_group 1;", "cp.async.wait_group 2;")
    with pytest.raises(EmulatedFault, match=r"while a cp\.async into it is in flight"):
        sparse_gemm(mutated)


def test_copies_that_nobody_waits_for_are_caught(gemm_ptx: str) -> None:
    with pytest.raises(EmulatedFault, match=r"cp\.async still in flight when the kernel ends"):
        sparse_gemm(mutate(gemm_ptx, r"cp\.async\.wait_all;", ""))


def test_a_copy_into_the_buffer_that_is_being_read_is_caught(gemm_ptx: str) -> None:
    # The second copy goes where the first one is.
    offset = r"(tile[\w$]*|%r\d+)\+?2560"
    if not re.search(offset, gemm_ptx):
        mutated = gemm_ptx.replace("xor.b32", "or.b32")
    else:
        mutated = mutate(gemm_ptx, offset, r"\1")
    with pytest.raises(EmulatedFault, match=r"race|in flight"):
        sparse_gemm(mutated)


def test_metadata_with_equal_positions_is_caught(gemm_ptx: str) -> None:
    random = torch.Generator().manual_seed(0)
    values, metadata, _ = two_four(16, 32, random)
    y = torch.empty(16, 32)
    x = torch.zeros(32, 32).half()
    with pytest.raises(EmulatedFault, match="positions"):
        Kernel(gemm_ptx).launch(
            (1, 1), (128,), [values, torch.zeros_like(metadata), x, y, 16, 32, 32]
        )


def copies(name: str) -> Kernel:
    return Kernel(compile_cuda(COPIES, 80).ptx, name)


def test_an_access_past_the_end_of_a_tensor_is_caught() -> None:
    kernel = copies("copy_by_4")
    with pytest.raises(EmulatedFault, match=r"out-of-bounds global load of 4 bytes .*block \(1, "):
        kernel.launch((2,), (32,), [torch.zeros(63), torch.zeros(64)])
    with pytest.raises(EmulatedFault, match="out-of-bounds global store"):
        kernel.launch((2,), (32,), [torch.zeros(64), torch.zeros(63)])


def test_a_view_ends_where_its_last_element_does() -> None:
    whole = torch.zeros(128)
    with pytest.raises(EmulatedFault, match="out-of-bounds"):
        copies("copy_by_4").launch((2,), (32,), [whole[:60], torch.zeros(64)])


def test_a_misaligned_access_is_caught() -> None:
    shifted = torch.zeros(200)[1:]
    with pytest.raises(EmulatedFault, match="misaligned global load"):
        copies("copy_by_16").launch((1,), (32,), [shifted, torch.zeros(128)])


def test_an_access_past_the_end_of_shared_memory_is_caught() -> None:
    with pytest.raises(EmulatedFault, match="out-of-bounds shared load"):
        copies("read_shared_strided").launch((1,), (32,), [torch.zeros(32), 40])


def test_a_kernel_that_never_ends_is_stopped() -> None:
    with pytest.raises(EmulatedFault, match="out of fuel"):
        copies("wait_for_nobody").launch((1,), (1,), [torch.ones(1, dtype=torch.int32)])


def test_a_shuffle_that_names_a_lane_elsewhere_is_caught(norm_ptx: str) -> None:
    mutated = mutate(norm_ptx, r"shfl\.sync", "@%stray bra $Away;\nshfl.sync")
    mutated = mutate(mutated, r"\bret;", "$Away:\nret;", -1)
    mutated = mutate(
        mutated,
        r"mov\.u32\s+(%r\d+), %tid\.x;",
        r"\g<0>\n.reg .pred %stray; setp.lt.u32 %stray, \1, 3;",
    )
    with pytest.raises(EmulatedFault, match="not converged"):
        row_norm(mutated)


def test_a_barrier_in_divergent_code_is_caught(norm_ptx: str) -> None:
    mutated = mutate(norm_ptx, r"bar\.sync\s+0;", "@%stray bra $Away;\nbar.sync 0;\n$Away:")
    mutated = mutate(
        mutated,
        r"mov\.u32\s+(%r\d+), %tid\.x;",
        r"\g<0>\n.reg .pred %stray; setp.lt.u32 %stray, \1, 3;",
    )
    with pytest.raises(EmulatedFault, match="divergent"):
        row_norm(mutated)


def test_shared_memory_holds_nan_until_it_is_written(norm_ptx: str) -> None:
    mutated = norm_ptx.replace("st.shared.f32", "// st").replace("st.shared.b32", "// st")
    y, _ = row_norm(mutated)
    assert y.isnan().all()


def test_arguments_are_counted_and_tensors_must_be_the_cpus() -> None:
    kernel = copies("copy_by_4")
    with pytest.raises(ValueError, match="expected 2 arguments, got 1"):
        kernel.launch((1,), (32,), [torch.zeros(32)])
    with pytest.raises(ValueError, match="expected CPU tensors, got one on meta"):
        kernel.launch((1,), (32,), [torch.zeros(32, device="meta"), torch.zeros(32)])


def test_a_kernel_is_chosen_by_name() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        copies("copy_by_5")
