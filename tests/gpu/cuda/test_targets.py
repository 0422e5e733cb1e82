"""The CUDA sources compile for every GPU that is named, those with features of their own too."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from sparse_ovs import _cuda
from sparse_ovs._cuda import nvrtc, sources
from sparse_ovs.ops.cuda import TILES, csr_direct
from sparse_ovs.ops.cuda.launch import DTYPE_NUMBERS

TARGETS = ("80", "86", "89", "90a", "100a", "120a")

pytestmark = pytest.mark.skipif(
    bool(_cuda.unavailable_reason()), reason=_cuda.unavailable_reason() or "NVRTC is there"
)


def variants() -> Iterator[tuple[str, dict[str, int]]]:
    """Name and macros of everything that the launchers can ask for."""
    flags = ("POINTWISE", "CHANNELS_ALIGNED", "OUT_ALIGNED")
    for tile, number, values in product(TILES, (1, 2), product((0, 1), repeat=3)):
        yield (
            "sp24_residue",
            {**tile.defines(), "DTYPE": number, **dict(zip(flags, values, strict=True))},
        )
    for dtype, number in DTYPE_NUMBERS.items():
        for pointwise, vector in ((0, 1), (1, 1), (1, 16 // dtype.itemsize)):
            runs = 1
            while vector * runs <= csr_direct._LANE_PIXELS:
                macros = {"VECTOR": vector, "RUNS": runs, "POINTWISE": pointwise}
                yield "csr_direct", {"DTYPE": number, "WARPS": csr_direct._WARPS, **macros}
                runs *= 2


def assert_compiles(name: str, macros: dict[str, int], target: str) -> None:
    headers = {file: text for file, text in sources.sources().items() if file.endswith(".cuh")}
    options = [f"--gpu-architecture=sm_{target}", "--std=c++17"]
    options += [f"--define-macro={macro}={value}" for macro, value in macros.items()]
    code = nvrtc.compile_program(
        f"{name}.cu", sources.source(f"{name}.cu"), headers, options, ptx=False
    )
    assert code.startswith(b"\x7fELF")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["sp24_residue", "csr_direct"])
def test_a_variant_compiles(name: str, target: str) -> None:
    macros = next(macros for kernel, macros in variants() if kernel == name)
    assert_compiles(name, macros, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["sp24_residue", "csr_direct"])
def test_every_variant_compiles(name: str, target: str) -> None:
    for kernel, macros in variants():
        if kernel == name:
            assert_compiles(name, macros, target)
