"""The library takes the CPU for a GPU: its ops run what they register for CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

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


@contextmanager
def cpu_as_gpu(execute: Callable[[launch.Launch, torch.device], None]) -> Iterator[None]:
    """Within it layers that are made, or moved, run on the CPU as on a GPU.

    Args:
        execute: what a launch of CUDA C++ does. Triton's go to its active driver, see `emulating`.
    """
    library = torch.library.Library("sparse_ovs", "IMPL")
    family, run = backends._FAMILIES["cpu"], launch.execute
    backends._FAMILIES["cpu"] = "cuda"
    launch.execute = execute
    for name, function in _ON_GPU.items():
        library.impl(name, function, "CPU", allow_override=True)
    try:
        yield
    finally:
        backends._FAMILIES["cpu"] = family
        launch.execute = run
        library._destroy()
