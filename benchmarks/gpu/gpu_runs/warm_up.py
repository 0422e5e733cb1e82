"""Compiles the Triton kernels of RN50's layers on all cores at once, while the GPU is still asked
for other things: `python -m gpu_runs.warm_up ARCH PART PARTS`.

Triton finds them in its cache then. They are the same to it where types, the sizes' divisibility by
16 and the constants are, so that small maps stand for large ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from gpu_runs.missing import stand_in_for_open_clip

_PROCESSES = 8
# Of sp24 and csr NVRTC takes care quickly.
_BLOCKS = ((64, 64), (32, 32), (16, 64), (16, 16))
_SIZES = (16, 8)  # as 160 and 80, and as 40 and 20: divisible by 16, and not


@dataclass(frozen=True)
class Case:
    """A kernel of its own: what Triton tells apart among the layers."""

    kernel: int
    block: tuple[int, int]
    size: int
    bias: bool
    activation: str | None


def cases() -> Iterator[Case]:
    """First what the layers alone run, without anything added; then all that the tuner tries in an
    encoder, whose BatchNorms are folded."""
    for kernel, size, block in product((3, 1), _SIZES, _BLOCKS[:2]):
        yield Case(kernel, block, size, False, None)
    for kernel, activation in ((3, "relu"), (1, "relu"), (1, None)):
        for size, block in product(_SIZES, _BLOCKS):
            yield Case(kernel, block, size, True, activation)


def start(arch: int, environment: Mapping[str, str], out: Path) -> list[subprocess.Popen[bytes]]:
    """Starts the processes; the caller ends them."""
    count = max(1, min(_PROCESSES, (os.cpu_count() or 1) - 2))
    with (out / "warm_up.log").open("wb") as log:
        return [
            subprocess.Popen(
                [sys.executable, "-m", "gpu_runs.warm_up", str(arch), str(part), str(count)],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=out,
            )
            for part in range(count)
        ]


def compile_case(case: Case, arch: int) -> None:
    """Compiles a convolution's forward as its launcher does, and runs nothing."""
    import torch

    from gpu.emulation.aot import compiling
    from gpu.kernels.bsr_problems import nhwc
    from sparse_ovs.formats import pack_bsr
    from sparse_ovs.kernels import bsr_conv2d

    window = (case.kernel, case.kernel)
    weight = torch.ones(64, 64, *window, dtype=torch.float16)
    bsr = pack_bsr(weight, weight != 0, case.block)
    with compiling(arch):
        bsr_conv2d.forward(
            nhwc(torch.zeros(1, 64, case.size, case.size, dtype=torch.float16)),
            bsr.values,
            bsr.row_ptr,
            bsr.taps,
            bsr.channels,
            64,
            window,
            torch.zeros(64) if case.bias else None,
            None,
            case.activation,
            padding=(case.kernel // 2, case.kernel // 2),
            precision="ieee",  # of float32 alone, but a constant; the steps forbid TF32 in halves
        )


def main(arch: int, part: int, parts: int) -> None:
    """Compiles every parts-th case."""
    for case in list(cases())[part::parts]:
        compile_case(case, arch)


if __name__ == "__main__":
    stand_in_for_open_clip()
    main(*map(int, sys.argv[1:]))
