"""Stand-ins for a GPU: everything of a step runs on the CPU, up to its first launch of a kernel,
which is compiled for a GPU of today and not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import triton

from gpu.emulation.cpu_as_gpu import cpu_as_gpu
from gpu.emulation.triton_driver import EmulatedGpu, emulating
from sparse_ovs import _cuda
from sparse_ovs.ops.cuda.launch import Launch

ARCH = 90


class Launched(BaseException):
    """A kernel would run now. No Exception: what catches failures lets it through."""


class _Compiler(EmulatedGpu):
    def run(self, compiled: Any, grid: Any, args: Any) -> None:
        raise Launched(compiled.metadata.name)


def _execute(asked: Launch, device: torch.device) -> None:
    _cuda.compiled(asked.kernel, ARCH, asked.defines)
    raise Launched(asked.kernel)


@contextmanager
def rehearsing(on_launch: Callable[[str], None]) -> Iterator[None]:
    """Within it sparse_ovs takes the CPU for a GPU; the body ends at the first launch.

    Args:
        on_launch: called with the kernel's name.
    """
    with emulating(ARCH), cpu_as_gpu(_execute):
        triton.runtime.driver.active.gpu = _Compiler(ARCH)
        try:
            yield
        except Launched as launched:
            on_launch(str(launched))
