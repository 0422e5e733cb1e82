"""The CUDA driver through ctypes: loads compiled kernels and launches them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from sparse_ovs._cuda.binaries import compiled

_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
_MAX_DYNAMIC_SHARED_BYTES = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_COMPUTE_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
# What the driver allows a block without being asked.
_DEFAULT_SHARED_BYTES = 48 << 10


class CudaDriverError(RuntimeError):
    """There is no CUDA driver, or a call of it failed."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The driver. Raises CudaDriverError."""
    for name in _LIBRARIES:
        try:
            lib = ctypes.CDLL(name)
        except OSError:
            continue
        _check(lib, lib.cuInit(0))
        return lib
    raise CudaDriverError(
        f"expected a CUDA driver, which comes with a GPU, got none of {', '.join(_LIBRARIES)}"
    )


@cache
def compute_capability(device: int) -> int:
    """10 * major + minor of a GPU. Raises CudaDriverError."""
    lib, handle = library(), ctypes.c_int()
    _check(lib, lib.cuDeviceGet(ctypes.byref(handle), device))
    numbers = []
    for attribute in _COMPUTE_CAPABILITY:
        number = ctypes.c_int()
        _check(lib, lib.cuDeviceGetAttribute(ctypes.byref(number), attribute, handle))
        numbers.append(number.value)
    return 10 * numbers[0] + numbers[1]


def launch(
    name: str,
    defines: tuple[tuple[str, int], ...],
    device: int,
    stream: int,
    grid: Sequence[int],
    threads: int,
    shared_bytes: int,
    arguments: Sequence[Any],
) -> None:
    """Runs `csrc/cuda/<name>.cu` in the current context; compiles and loads it first, once.

    Args:
        name, defines: see `compiled`; the function has the file's name.
        device: number of the GPU that the current context is of.
        stream: handle of a CUDA stream of it.
        grid: blocks in x, y, z, at least 1 each.
        threads: of a block.
        shared_bytes: dynamic shared memory of a block.
        arguments: ctypes values, in the order of the kernel's parameters.

    Raises:
        CudaDriverError: no driver, or a failed call.
        CudaCompilerError, SourceError: see `compiled`.
    """
    lib = library()
    function = _function(name, defines, device, shared_bytes)
    places = (ctypes.c_void_p * len(arguments))(
        *(ctypes.cast(ctypes.pointer(argument), ctypes.c_void_p) for argument in arguments)
    )
    status = lib.cuLaunchKernel(
        function,
        *(ctypes.c_uint(blocks) for blocks in grid),
        *(ctypes.c_uint(size) for size in (threads, 1, 1)),
        ctypes.c_uint(shared_bytes),
        ctypes.c_void_p(stream),
        places,
        None,
    )
    _check(lib, status)


@cache
def _function(
    name: str, defines: tuple[tuple[str, int], ...], device: int, shared_bytes: int
) -> ctypes.c_void_p:
    """The kernel on a device; it stays loaded as long as the process runs."""
    lib = library()
    binary = compiled(name, compute_capability(device), dict(defines))
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    # PTX is a text that ends in a zero.
    _check(lib, lib.cuModuleLoadData(ctypes.byref(module), binary.code + b"\0"))
    _check(lib, lib.cuModuleGetFunction(ctypes.byref(function), module, name.encode()))
    if shared_bytes > _DEFAULT_SHARED_BYTES:
        _check(lib, lib.cuFuncSetAttribute(function, _MAX_DYNAMIC_SHARED_BYTES, shared_bytes))
    return function


def _check(lib: ctypes.CDLL, status: int) -> None:
    if not status:
        return
    text = ctypes.c_char_p()
    lib.cuGetErrorString(status, ctypes.byref(text))
    words = (text.value or b"an unknown error").decode()
    raise CudaDriverError(f"expected the CUDA driver to work, got error {status}: {words}")
