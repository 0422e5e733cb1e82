"""Triton kernels compiled for any architecture, and what the compiler made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import CompiledKernel

from .architectures import Occupancy, occupancy
from .sass import MachineCode, read_machine_code
from .triton_driver import EmulatedGpu, emulating

#: Every architecture that kernels are compiled for.
ARCHS = (80, 86, 89, 90, 100)


@dataclass(frozen=True)
class Compiled:
    """A kernel compiled for one architecture: its PTX, its machine code, its resources."""

    arch: int
    name: str
    ptx: str
    code: MachineCode
    shared_bytes: int  # of a block, dynamic ones included
    warps: int

    @property
    def occupancy(self) -> Occupancy:
        return occupancy(self.arch, self.code.registers, self.shared_bytes, self.warps)

    def figures(self) -> dict[str, float]:
        """What a budget holds down."""
        return {
            "registers": self.code.registers,
            "spills": self.code.spills,
            "local_bytes": self.code.local_bytes,
            "shared_bytes": self.shared_bytes,
            "instructions": len(self.code.body),
        }


def read_compiled(kernel: CompiledKernel) -> Compiled:
    """What Triton compiled, read back from its cubin."""
    metadata = kernel.metadata
    (code,) = read_machine_code(kernel.asm["cubin"]).values()
    arch = metadata.target.arch
    shared = metadata.shared
    return Compiled(arch, metadata.name, kernel.asm["ptx"], code, shared, metadata.num_warps)


@contextmanager
def compiling(arch: int) -> Iterator[list[Compiled]]:
    """Within it, `kernel[grid](cpu_tensors, ...)` is compiled for `sm_<arch>`, and not run.

    Launchers are called as ever, so that kernels are compiled as Triton specialises them there.
    The list holds what was compiled, one for each launch.
    """
    compiled: list[Compiled] = []

    class Recorder(EmulatedGpu):
        def run(self, kernel: CompiledKernel, grid: Any, args: Any) -> None:
            compiled.append(read_compiled(kernel))

    with emulating(arch) as gpu:
        triton.runtime.driver.active.gpu = Recorder(gpu.arch)
        yield compiled


def compile_kernel(
    kernel: Any,
    arguments: Mapping[str, str],
    constants: Mapping[str, Any],
    arch: int,
    *,
    aligned: tuple[str, ...] = (),
    warps: int = 4,
    stages: int = 3,
) -> Compiled:
    """Compiles a `@triton.jit` kernel for given types, without a launcher.

    Args:
        kernel: the jitted function.
        arguments: Triton's type of each argument that is no constant: `{"x": "*fp16", "n": "i32"}`.
        constants: values of the constexprs.
        aligned: arguments known to be divisible by 16: pointers, and strides in elements.
    """
    signature = {name: arguments.get(name, "constexpr") for name in kernel.arg_names}
    attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    source = ASTSource(fn=kernel, signature=signature, constexprs=dict(constants), attrs=attributes)
    options = {"num_warps": warps, "num_stages": stages}
    return read_compiled(
        triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    )
