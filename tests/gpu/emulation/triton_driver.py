"""A Triton driver that runs the compiled PTX of `kernel[grid](...)` on CPU tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import CompiledKernel

from .architectures import ARCHITECTURES
from .kernel import Counters, Kernel

_kernels: dict[str, Kernel] = {}


@dataclass(frozen=True)
class Launch:
    """One launch under `emulating`: what was compiled, and what it did."""

    name: str
    grid: tuple[int, int, int]
    counters: Counters
    compiled: CompiledKernel


@dataclass
class EmulatedGpu:
    """An emulated GPU: every launch, in order.

    `seed` shuffles blocks and warps. `change` is given a kernel's name and PTX, and returns what
    runs in its place: faults are put in by it.
    """

    arch: int
    seed: int = 0
    change: Callable[[str, str], str] | None = None
    launches: list[Launch] = field(default_factory=list)

    def run(self, compiled: CompiledKernel, grid: tuple[int, int, int], args: list[Any]) -> None:
        """Launches compiled PTX; `args` without the constexprs."""
        metadata = compiled.metadata
        if metadata.num_ctas != 1:
            raise NotImplementedError(f"clusters of {metadata.num_ctas} blocks")
        if metadata.global_scratch_size or metadata.profile_scratch_size:
            raise NotImplementedError("scratch memory")
        ptx = compiled.asm["ptx"]
        if self.change is not None:
            ptx = self.change(metadata.name, ptx)
        if ptx not in _kernels:
            _kernels[ptx] = Kernel(ptx)
        values = [int(a) if isinstance(a, bool) else 0 if a is None else a for a in args]
        # Triton adds a pointer to global scratch and one for the profiler.
        counters = _kernels[ptx].launch(
            grid, (32 * metadata.num_warps,), [*values, 0, 0], metadata.shared, seed=self.seed
        )
        self.launches.append(Launch(metadata.name, grid, counters, compiled))


class _Launcher:
    """What Triton calls in place of a CUDA launch."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self.signature = source.signature
        self.compiled: CompiledKernel | None = None

    def __call__(
        self,
        x: int,
        y: int,
        z: int,
        stream: Any,
        function: Any,
        packed: Any,
        launch_metadata: Any,
        enter: Any,
        leave: Any,
        *args: Any,
    ) -> None:
        driver = triton.runtime.driver.active
        assert self.compiled is not None
        kinds = self.signature.values()
        kept = [a for a, kind in zip(args, kinds, strict=True) if kind != "constexpr"]
        driver.gpu.run(self.compiled, (x, y, z), kept)


class _Utils:
    def __init__(self, arch: int) -> None:
        self._arch = ARCHITECTURES[arch]

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {
            "max_shared_mem": self._arch.shared_bytes_a_block,
            "multiprocessor_count": self._arch.multiprocessors,
            "warpSize": 32,
            "max_num_regs": self._arch.registers,
            "sm_clock_rate": int(self._arch.clock_hz / 1000),
        }

    def load_binary(self, *_: Any) -> tuple[None, None, int, int, int]:
        return None, None, 0, 0, 1024  # module, function, registers, spills, threads at most

    def unload_module(self, module: Any) -> None:
        pass


class _Driver:
    """A device of its own for each architecture: Triton caches kernels by device."""

    launcher_cls = _Launcher

    def __init__(self, gpu: EmulatedGpu) -> None:
        self.gpu = gpu
        self.utils = _Utils(gpu.arch)

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.gpu.arch, 32)

    def get_current_device(self) -> int:
        return self.gpu.arch

    def set_current_device(self, device: int) -> None:
        pass

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        return divmod(self.gpu.arch, 10)

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_benchmarker(self) -> Callable[..., list[float]]:
        """The autotuner's clock: every configuration runs, and none is faster."""

        def benchmark(call: Callable[[], None], quantiles: Any = None) -> list[float]:
            call()
            return [1.0, 1.0, 1.0]

        return benchmark

    def map_python_to_cpp_type(self, kind: str) -> str:
        return kind


@contextmanager
def emulating(arch: int, seed: int = 0) -> Iterator[EmulatedGpu]:
    """Within it, `kernel[grid](cpu_tensors, ...)` compiles for `sm_<arch>` and is emulated.

    Raises, from the launch:
        EmulatedFault: as `Kernel.launch` does.
        NotImplementedError: for clusters, scratch memory (TMA descriptors made in the kernel),
            and instructions that the emulator does not know.
    """
    gpu = EmulatedGpu(arch, seed)
    config = triton.runtime.driver
    before, init = config._active, CompiledKernel._init_handles

    def init_handles(self: CompiledKernel) -> None:
        init(self)
        if isinstance(self._run, _Launcher):
            self._run.compiled = self

    config.set_active(_Driver(gpu))
    CompiledKernel._init_handles = init_handles
    try:
        yield gpu
    finally:
        config._active = before
        CompiledKernel._init_handles = init
