"""The CUDA kernels as the library launches them: NVRTC's PTX on CPU tensors, or machine code."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from gpu.emulation.kernel import Counters, Kernel
from gpu.emulation.requirements import missing_compiler, missing_triton
from gpu.emulation.sass import MachineCode, read_machine_code
from sparse_ovs import _cuda
from sparse_ovs.ops.cuda import Launch

Change = Callable[[str], str]


def need_emulator() -> None:
    """Skips a test where NVRTC or g++ is missing."""
    for reason in (_cuda.unavailable_reason(), missing_compiler()):
        if reason:
            pytest.skip(reason)


def run(
    launched: tuple[Launch, Tensor], *, arch: int = 80, change: Change | None = None
) -> tuple[Tensor, Counters]:
    """The output, every number of which the kernel has written, and what the launch did.

    Args:
        launched: what a launcher returned.
        arch: whose PTX runs.
        change: what to do to the PTX first.
    """
    launch, output = launched
    output.fill_(torch.nan)
    return output, execute(launch, arch=arch, change=change)


def execute(launch: Launch, *, arch: int = 80, change: Change | None = None) -> Counters:
    """Runs a launch on its tensors, which lie on the CPU; see `run`."""
    need_emulator()
    arguments = [
        argument if isinstance(argument, Tensor) else 0 if argument is None else argument.value
        for argument in launch.arguments
    ]
    kernel = _kernel(launch.kernel, tuple(launch.defines.items()), arch, change)
    return kernel.launch(launch.grid, [launch.threads], arguments, launch.shared_bytes, seed=1)


def machine_code(launch: Launch, arch: int) -> MachineCode:
    """What the assembler made of the variant that a launch asks for."""
    for reason in (_cuda.unavailable_reason(), missing_triton()):
        if reason:
            pytest.skip(reason)
    binary = _cuda.compiled(launch.kernel, arch, launch.defines)
    assert not binary.is_ptx
    return read_machine_code(binary.code)[launch.kernel]


def assert_rounded_once(found: Tensor, fp64: Tensor, terms: Tensor) -> None:
    """|found - fp64| is at most the rounding to found's dtype and that of float32 sums.

    Args:
        fp64: the same result in double precision.
        terms: the sum of the magnitudes of what each output is summed from.
    """
    assert found.shape == fp64.shape
    allowed = torch.finfo(found.dtype).eps * fp64.abs() + 2**-18 * terms
    error = (found.double() - fp64).abs()
    worst = float((error / allowed).nan_to_num(nan=torch.inf).max())
    assert worst <= 1, f"expected an error of at most 1 rounding, got {worst:.3g}"


@cache
def _kernel(
    name: str, defines: tuple[tuple[str, int], ...], arch: int, change: Change | None
) -> Kernel:
    ptx = _cuda.compiled(name, arch, dict(defines), ptx=True).code.decode()
    return Kernel(ptx if change is None else change(ptx), name)
