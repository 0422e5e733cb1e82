"""NVRTC through ctypes: CUDA C++ to machine code or PTX, without a toolkit and without a GPU.

The library comes with torch's CUDA wheels. Only its plain C interface is used, which has been the
same since CUDA 11.1.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path


class CudaCompilerError(RuntimeError):
    """NVRTC is missing, or refuses a program."""


def candidates() -> list[str]:
    """Paths or names that the library may have, the ones in torch's wheels first."""
    places: list[str] = []
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        # nvidia/cu13/lib since CUDA 13, nvidia/cuda_nvrtc/lib before.
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*"), reverse=True):
            if ".alt." not in path.name:
                places.append(str(path))
    named = ctypes.util.find_library("nvrtc")
    return places + ([named] if named else [])


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library, loaded once. Raises CudaCompilerError."""
    places = candidates()
    reasons = []
    for place in places:
        try:
            lib = ctypes.CDLL(place)
        except OSError as error:
            reasons.append(f"{place}: {error}")
            continue
        lib.nvrtcGetErrorString.restype = ctypes.c_char_p
        return lib
    found = "; ".join(reasons) if reasons else "none"
    raise CudaCompilerError(
        f"expected NVRTC, which comes with torch for CUDA (package nvidia-cuda-nvrtc), got {found}"
    )


@lru_cache(maxsize=1)
def unavailable_reason() -> str:
    """Why CUDA sources cannot be compiled; empty if they can."""
    try:
        library()
    except CudaCompilerError as error:
        return str(error)
    return ""


@lru_cache(maxsize=1)
def version() -> tuple[int, int]:
    """Major and minor version of NVRTC."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


@lru_cache(maxsize=1)
def supported_archs() -> tuple[int, ...]:
    """Compute capabilities that it compiles for, ascending, as 10 * major + minor."""
    count = ctypes.c_int()
    _check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    archs = (ctypes.c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(archs))
    return tuple(sorted(archs))


def compile_program(
    name: str, source: str, headers: Mapping[str, str], options: Sequence[str], *, ptx: bool
) -> bytes:
    """Compiles one program.

    Args:
        name: in messages.
        source: CUDA C++.
        headers: what it may include, by name.
        options: of NVRTC, the architecture among them.
        ptx: PTX text instead of a cubin.

    Raises:
        CudaCompilerError: no NVRTC, or an error in the program; with the compiler's own words.
    """
    lib = library()
    program = ctypes.c_void_p()
    texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
    names = (ctypes.c_char_p * len(headers))(*(header.encode() for header in headers))
    _check(
        lib.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), name.encode(), len(headers), texts, names
        )
    )
    try:
        flags = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = lib.nvrtcCompileProgram(program, len(options), flags)
        if status:
            log = _read(lib.nvrtcGetProgramLogSize, lib.nvrtcGetProgramLog, program)
            raise CudaCompilerError(
                f"expected {name} to compile with {' '.join(options)}, "
                f"got {_message(status)}: {log.rstrip(bytes(1)).decode(errors='replace')}"
            )
        if ptx:
            return _read(lib.nvrtcGetPTXSize, lib.nvrtcGetPTX, program).rstrip(b"\0")
        return _read(lib.nvrtcGetCUBINSize, lib.nvrtcGetCUBIN, program)
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def _read(
    size_of: Callable[..., int], content_of: Callable[..., int], program: ctypes.c_void_p
) -> bytes:
    size = ctypes.c_size_t()
    _check(size_of(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(content_of(program, buffer))
    return buffer.raw


def _check(status: int) -> None:
    if status:
        raise CudaCompilerError(f"expected NVRTC to work, got {_message(status)}")


def _message(status: int) -> str:
    return str(library().nvrtcGetErrorString(status).decode())
