"""CUDA C++ of `csrc/cuda`: its sources, and what NVRTC makes of them at first use."""

from sparse_ovs._cuda.binaries import Binary, compiled
from sparse_ovs._cuda.nvrtc import CudaCompilerError, unavailable_reason
from sparse_ovs._cuda.sources import SourceError

__all__ = ["Binary", "CudaCompilerError", "SourceError", "compiled", "unavailable_reason"]
