"""The variants that the code ships, read from the code itself, and what identifies that code."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch
import triton

from gpu.evidence.digests import c_code, digest, python_code
from sparse_ovs import kernels
from sparse_ovs._cuda import nvrtc
from sparse_ovs._cuda.sources import sources
from sparse_ovs.kernels.contracts import DTYPES, PRECISIONS
from sparse_ovs.kernels.tiles import BLOCKS, tile_for
from sparse_ovs.ops.cuda import TILES, csr_direct
from sparse_ovs.ops.cuda.launch import DTYPE_NUMBERS

#: Files of `kernels/` that only refuse wrong arguments, or import.
_UNTESTED_PARTS = ("__init__", "_triton", "contracts")
CUDA_KERNELS = ("csr_direct", "sp24_residue")


def dtype_name(dtype: torch.dtype) -> str:
    """float16 for torch.float16."""
    return str(dtype).removeprefix("torch.")


def triton_kernels() -> dict[str, list[str]]:
    """Directions by kernel: every function `<direction>_kernel` of a file in `kernels/`."""
    found = {}
    for module in pkgutil.iter_modules(kernels.__path__):
        names = vars(import_module(f"sparse_ovs.kernels.{module.name}")).items()
        directions = [
            name.removesuffix("_kernel")
            for name, value in names
            if name.endswith("_kernel") and isinstance(value, triton.runtime.JITFunction)
        ]
        if directions:
            found[module.name] = directions
    return found


def shipped() -> set[tuple[str, str]]:
    """Every (kernel, variant)."""
    return {*_triton_variants(), *_sp24_variants(), *_csr_variants()}


def _triton_variants() -> Iterator[tuple[str, str]]:
    for kernel, directions in triton_kernels().items():
        blocks = list(_blocks()) if kernel.startswith("bsr_") else map(dtype_name, DTYPES)
        yield from ((kernel, f"{d} {block}") for block in list(blocks) for d in directions)


def _blocks() -> Iterator[str]:
    for dtype in DTYPES:
        for precision in PRECISIONS if dtype == torch.float32 else PRECISIONS[:1]:
            name = precision if dtype == torch.float32 else dtype_name(dtype)
            for rows, columns in BLOCKS:
                try:
                    tile_for((rows, columns), dtype, precision)
                except ValueError:
                    continue
                yield f"{name} {rows}x{columns}"


def _sp24_variants() -> Iterator[tuple[str, str]]:
    for tile in TILES:
        for dtype in (torch.float16, torch.bfloat16):
            for kind in ("linear", "conv"):
                yield (
                    "sp24_residue",
                    f"forward {kind} {dtype_name(dtype)} {tile.rows}x{tile.pixels}",
                )


def _csr_variants() -> Iterator[tuple[str, str]]:
    for dtype in DTYPE_NUMBERS:
        for kind in ("pointwise", "windowed"):
            vectors = [1, 16 // dtype.itemsize] if kind == "pointwise" else [1]
            for vector in vectors:
                runs = 1
                while vector * runs <= csr_direct._LANE_PIXELS:
                    yield "csr_direct", csr_variant(kind == "pointwise", dtype, vector, runs)
                    runs *= 2


def csr_variant(pointwise: bool, dtype: torch.dtype, vector: int, runs: int) -> str:
    """Runs of so many neighbours that a lane owns: `forward pointwise float32 2x4`."""
    kind = "pointwise" if pointwise else "windowed"
    return f"forward {kind} {dtype_name(dtype)} {runs}x{vector}"


def code_and_compiler(kernel: str) -> tuple[str, str]:
    """Digest of a kernel's sources, and the compiler that is installed."""
    if kernel in CUDA_KERNELS:
        return code_of(kernel), f"NVRTC {'.'.join(map(str, nvrtc.version()))}"
    return code_of(kernel), f"Triton {version('triton')}"


def code_of(kernel: str) -> str:
    """Digest of a kernel's sources, comments left out."""
    if kernel in CUDA_KERNELS:
        texts = [
            c_code(text)
            for name, text in sources().items()
            if name.endswith(".cuh") or name == f"{kernel}.cu"
        ]
        if kernel == "sp24_residue":
            texts.append(repr(TILES))
        return digest(texts)
    folder = Path(kernels.__path__[0])
    others = {*triton_kernels(), *_UNTESTED_PARTS} - {kernel}
    files = sorted(file for file in folder.glob("*.py") if file.stem not in others)
    return digest(python_code(file.read_text()) for file in files)
