"""CUDA C++ of `csrc/cuda`: its sources, what NVRTC makes of them, and how the driver runs it."""

from sparse_ovs._after_import import import_what_waits
from sparse_ovs._cuda.binaries import Binary, compiled
from sparse_ovs._cuda.driver import CudaDriverError, launch
from sparse_ovs._cuda.nvrtc import CudaCompilerError, unavailable_reason
from sparse_ovs._cuda.sources import SourceError

__all__ = [
    "Binary",
    "CudaCompilerError",
    "CudaDriverError",
    "SourceError",
    "compiled",
    "launch",
    "unavailable_reason",
]

import_what_waits(__name__)
