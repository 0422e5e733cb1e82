"""Modules whose tensors lie on the CPU, run by the kernels of a GPU under the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from gpu.cuda import emulated
from gpu.emulation.kernel import Counters
from gpu.emulation.triton_driver import EmulatedGpu, emulating
from sparse_ovs import ops
from sparse_ovs.ops import backends
from sparse_ovs.ops.avg_pool import avg_pool2x2_on_gpu
from sparse_ovs.ops.cuda import launch

_ON_GPU = {
    "conv2d": ops.on_gpu.conv2d_on_gpu,
    "linear": ops.on_gpu.linear_on_gpu,
    "conv2d_gradients": ops.gradients.conv2d_gradients_on_gpu,
    "linear_gradients": ops.gradients.linear_gradients_on_gpu,
    "avg_pool2x2": avg_pool2x2_on_gpu,
}


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
    library = torch.library.Library("sparse_ovs", "IMPL")
    with emulating(arch, seed=1) as gpu, pytest.MonkeyPatch.context() as patch:
        launches = Launches(gpu)

        def execute(asked: launch.Launch, device: torch.device) -> None:
            counters = emulated.execute(asked, arch=arch)
            launches.cuda.append((asked.kernel, counters))

        patch.setitem(backends._FAMILIES, "cpu", "cuda")
        patch.setattr(launch, "execute", execute)
        for name, function in _ON_GPU.items():
            library.impl(name, function, "CPU", allow_override=True)
        try:
            yield launches
        finally:
            library._destroy()


def within(found: Tensor, fp64: Tensor, reference: Tensor, eps: float) -> None:
    """The largest error of found is at most twice that of the reference, and eps of the largest
    value."""
    error, allowed = (float((t.double() - fp64).abs().max()) for t in (found, reference))
    limit = 2 * allowed + eps * float(fp64.abs().max())
    assert error <= limit, f"expected an error of at most {limit:.3g}, got {error:.3g}"
