"""Compiled CUDA kernels: each variant is made at first use and kept on disk."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sparse_ovs._cuda import nvrtc
from sparse_ovs._cuda.sources import source, sources
from sparse_ovs.cache import VARIABLE, cache_folder
from sparse_ovs.formats import replace_file

_OLDEST = 80  # mma.sp and cp.async


@dataclass(frozen=True)
class Binary:
    """A compiled kernel.

    Attributes:
        code: a cubin, or PTX where `is_ptx`.
        is_ptx: whether the driver has to translate it.
    """

    code: bytes
    is_ptx: bool


def compiled(name: str, arch: int, defines: Mapping[str, int], *, ptx: bool = False) -> Binary:
    """`csrc/cuda/<name>.cu` for one GPU, with these macros.

    Args:
        name: of the file, without its suffix.
        arch: compute capability as 10 * major + minor. One that NVRTC does not know yet gets PTX of
            the newest older one, which the driver translates.
        defines: values of macros.
        ptx: PTX in any case.

    Raises:
        SourceError: no such file.
        CudaCompilerError: no NVRTC, or a GPU older than compute capability 8.0.
    """
    return _compiled(name, arch, tuple(sorted(defines.items())), ptx)


@cache
def _compiled(name: str, arch: int, defines: tuple[tuple[str, int], ...], ptx: bool) -> Binary:
    if arch < _OLDEST:
        raise nvrtc.CudaCompilerError(
            f"expected a GPU of compute capability {_OLDEST / 10} or newer, got {arch / 10}"
        )
    text = source(f"{name}.cu")
    known = [a for a in nvrtc.supported_archs() if a <= arch]
    is_ptx = ptx or known[-1] != arch
    kind = "compute" if is_ptx else "sm"
    options = [
        f"--gpu-architecture={kind}_{known[-1]}",
        "--std=c++17",
        *(f"--define-macro={macro}={value}" for macro, value in defines),
    ]
    headers = {file: text for file, text in sources().items() if file.endswith(".cuh")}
    path = _path(name, "ptx" if is_ptx else "cubin", text, headers, options)
    try:
        return Binary(path.read_bytes(), is_ptx)
    except OSError:
        pass  # not compiled yet, or not to be read
    code = nvrtc.compile_program(f"{name}.cu", text, headers, options, ptx=is_ptx)
    _store(path, code)
    return Binary(code, is_ptx)


def _path(
    name: str, suffix: str, text: str, headers: Mapping[str, str], options: list[str]
) -> Path:
    """Whatever changes the code changes the name."""
    content = json.dumps([text, headers, options, nvrtc.version()])
    digest = hashlib.sha256(content.encode()).hexdigest()[:24]
    return cache_folder() / "cuda" / f"{name}-{digest}.{suffix}"


def _store(path: Path, code: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, code)
    except OSError as error:
        warnings.warn(
            f"expected {path.parent} to be writable, got {error}: CUDA kernels are compiled again "
            f"next time ({VARIABLE} names another folder)",
            RuntimeWarning,
            stacklevel=4,
        )
