"""What plans of the whole process share: threads, and memory for outputs."""

from __future__ import annotations

import ctypes
import weakref

from sparse_ovs._native.loading import NativeLibraryError, check, library


def use_openmp(path: str | None) -> None:
    """Runs plans on the threads of a loaded OpenMP runtime; None: on the library's own.

    Raises NativeLibraryError where the file is no such runtime.
    """
    if path is None:
        library().sovs_use_openmp(None)
        return
    try:
        parallel = ctypes.CDLL(path).GOMP_parallel
    except (OSError, AttributeError) as error:
        raise NativeLibraryError(f"expected an OpenMP runtime, got {path}: {error}") from error
    library().sovs_use_openmp(ctypes.cast(parallel, ctypes.c_void_p))


def take_floats(count: int) -> ctypes.Array[ctypes.c_float]:
    """Uninitialised memory from the library's pool; it goes back when the last reference goes."""
    lib = library()
    address = ctypes.c_void_p()
    check(lib.sovs_buffer_take(4 * count, ctypes.byref(address)))
    floats = (ctypes.c_float * count).from_address(address.value or 0)
    # Not at exit: tensors may still be in use when exit handlers run.
    weakref.finalize(floats, lib.sovs_buffer_give, address).atexit = False
    return floats


def idle_buffer_bytes() -> int:
    """Bytes of output memory that the library keeps for later."""
    return int(library().sovs_buffer_idle_bytes())
