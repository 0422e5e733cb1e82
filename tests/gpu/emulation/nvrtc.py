"""CUDA C++ to PTX and machine code with NVRTC: no toolkit, no driver, no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .requirements import cuda_headers


@dataclass(frozen=True)
class CudaModule:
    """A compiled file: PTX for the emulator, machine code to read back."""

    arch: int
    ptx: str
    cubin: bytes


class CudaError(RuntimeError):
    """NVRTC refuses a source; the message is its log."""


@lru_cache
def compile_cuda(source: str, arch: int, options: Sequence[str] = ()) -> CudaModule:
    """Compiles CUDA C++ for one architecture (a fifth of a second).

    Args:
        source: one file; CUDA's own headers are found.
        arch: 80 for sm_80; from 90 the features of that one architecture are on (sm_90a).
        options: of NVRTC, for example `("-DTILE=32",)`.

    Raises:
        CudaError: where NVRTC refuses the source.
    """
    from cuda.bindings import nvrtc

    def checked(result: Any) -> Any:
        status, *values = result
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CudaError(f"{status.name}: {_log(nvrtc, program)}")
        return values[0] if values else None

    program: Any = None
    program = checked(nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    try:
        suffix = "a" if arch >= 90 else ""
        flags = [f"--gpu-architecture=sm_{arch}{suffix}", "--std=c++17", "-default-device"]
        flags += [f"-I{folder}" for folder in cuda_headers()] + list(options)
        encoded = [flag.encode() for flag in flags]
        checked(nvrtc.nvrtcCompileProgram(program, len(encoded), encoded))
        ptx = b" " * checked(nvrtc.nvrtcGetPTXSize(program))
        checked(nvrtc.nvrtcGetPTX(program, ptx))
        cubin = b" " * checked(nvrtc.nvrtcGetCUBINSize(program))
        checked(nvrtc.nvrtcGetCUBIN(program, cubin))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return CudaModule(arch, ptx.decode().rstrip("\0"), cubin)


def _log(nvrtc: Any, program: Any) -> str:
    if program is None:
        return ""
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = b" " * size
    nvrtc.nvrtcGetProgramLog(program, log)
    return log.decode().rstrip("\0").strip()
