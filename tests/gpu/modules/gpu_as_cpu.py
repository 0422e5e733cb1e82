"""Modules whose tensors lie on the CPU, run by the kernels of a GPU under the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gpu.cuda import emulated
from gpu.emulation.cpu_as_gpu import cpu_as_gpu
from gpu.emulation.kernel import Counters
from gpu.emulation.triton_driver import EmulatedGpu, emulating
from sparse_ovs.ops.cuda import launch


@dataclass
class Launches:
    """What ran, in order: Triton's launches and those of CUDA C++, by kernel name."""

    triton: EmulatedGpu
    cuda: list[tuple[str, Counters]] = field(default_factory=list)

    def names(self) -> set[str]:
        """Names of the kernels that ran."""
        return {run.name for run in self.triton.launches} | {name for name, _ in self.cuda}


@contextmanager
def cpu_tensors_on_gpu(arch: int) -> Iterator[Launches]:
    """Within it the library takes the CPU for a GPU: its ops run what they register for CUDA, and
    every launch is emulated. Layers must be made, or moved, inside."""
    with emulating(arch, seed=1) as gpu:
        launches = Launches(gpu)

        def execute(asked: launch.Launch, device: torch.device) -> None:
            counters = emulated.execute(asked, arch=arch)
            launches.cuda.append((asked.kernel, counters))

        with cpu_as_gpu(execute):
            yield launches


def within(found: Tensor, fp64: Tensor, reference: Tensor, eps: float) -> None:
    """The largest error of found is at most twice that of the reference, and eps of the largest
    value."""
    error, allowed = (float((t.double() - fp64).abs().max()) for t in (found, reference))
    limit = 2 * allowed + eps * float(fp64.abs().max())
    assert error <= limit, f"expected an error of at most {limit:.3g}, got {error:.3g}"
