"""Compiles shipped Triton variants with whatever Triton Python finds; a process of its own, since
one Python has one Triton: `python -m gpu.kernels.compile_variants sm_90 [--one]` prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import torch
import triton

from gpu.emulation.aot import compiling
from gpu.kernels.bsr_problems import (
    DIRECTIONS,
    DTYPES,
    VARIANTS,
    ConvProblem,
    LinearProblem,
    PoolProblem,
    Variant,
    normals,
)

# Channels as encoders have them, and such as divide nothing: other code is made of each.
PROBLEMS = {
    "bsr_linear": LinearProblem(rows=70, out_features=128, in_features=192),
    "bsr_linear odd": LinearProblem(rows=70, out_features=75, in_features=90, activation="gelu"),
    "bsr_conv2d": ConvProblem(2, out_channels=128, in_channels=64, size=(7, 11)),
    "bsr_conv2d odd": ConvProblem(2, 75, 90, (9, 11), (3, 3), (2, 1), (1, 2), (1, 2)),
}
ONE = Variant((64, 64), torch.float16)


def spills(arch: int, one: bool) -> Iterator[tuple[str, int]]:
    """(kernel and variant, registers spilled) of all of them, or of one variant's convolution."""
    for variant in [ONE] if one else VARIANTS:
        for name, problem in PROBLEMS.items():
            if one and name != "bsr_conv2d":
                continue
            with compiling(arch) as compiled:
                list(problem.results(variant, normals))
            for direction, kernel in zip(DIRECTIONS, compiled, strict=True):
                yield f"{name} {variant.of(direction)}", kernel.code.spills
    if one:
        return
    for dtype in DTYPES:
        with compiling(arch) as compiled:
            list(PoolProblem(2, 64, (8, 8)).results(dtype, normals))
        for direction, kernel in zip(DIRECTIONS[:2], compiled, strict=True):
            yield f"avg_pool2d {direction} {dtype}", kernel.code.spills


if __name__ == "__main__":
    found = dict(spills(int(sys.argv[1].removeprefix("sm_")), "--one" in sys.argv))
    print(json.dumps({"triton": triton.__version__, "spills": found}))
