"""Lower bounds on a launch's time from exact counts and public peak rates.

A bound is no measurement, and says nothing of how close a kernel comes to it: publish none as a
time. Real kernels wait, and no GPU holds its peak clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from .architectures import ARCHITECTURES
from .kernel import Counters


@dataclass(frozen=True)
class LowerBound:
    """Seconds that each resource needs at least, were it the only one."""

    arch: int
    parts: dict[str, float]

    @property
    def limit(self) -> str:
        """The resource that bounds the launch."""
        return max(self.parts, key=lambda part: self.parts[part])

    @property
    def seconds(self) -> float:
        return self.parts[self.limit]

    def __str__(self) -> str:
        a = ARCHITECTURES[self.arch]
        parts = ", ".join(f"{part} {1e6 * time:.2f}" for part, time in self.parts.items())
        return (
            f"{a.name} ({a.example}): lower bound {1e6 * self.seconds:.2f} us by {self.limit}, "
            f"not a measurement (us: {parts})"
        )


def lower_bound(
    arch: int,
    counters: Counters,
    blocks: int,
    compulsory_bytes: float,
    *,
    tensor_format: str = "fp16",
    issued_instructions: float = 0,
    fp32_flops: float = 0,
) -> LowerBound:
    """The least time of a launch whose work was counted in emulation.

    Args:
        counters: of that launch.
        blocks: thread blocks of the grid: a multiprocessor without one is idle.
        compulsory_bytes: read and written at least once, from DRAM.
        tensor_format: the rate of the tensor cores: fp16 (and bf16), tf32, or fp16 2:4, which is
            twice that of the dense products that sparse ones stand for.
        issued_instructions: warp instructions of the machine code, where they are known. PTX
            instructions do not bound them: the assembler may drop and fuse.
        fp32_flops: done outside of the tensor cores (1 fused multiply and add = 2).
    """
    a = ARCHITECTURES[arch]
    busy = min(blocks, a.multiprocessors) * a.clock_hz  # multiprocessor clocks a second
    rates = {"fp16": a.fp16_flops, "tf32": a.tf32_flops, "fp16 2:4": 2 * a.fp16_flops}
    rate = rates[tensor_format]
    wavefronts = counters.shared_load_wavefronts + counters.shared_store_wavefronts
    parts = {
        "tensor cores": counters.tensor_flops / (rate * busy),
        "CUDA cores": fp32_flops / (a.fp32_flops * busy),
        "shared memory": wavefronts / busy,
        # Its 32 banks of 4 bytes also give what is loaded through L1: four sectors a clock.
        "L1": (counters.load_sectors - counters.async_bytes / 32) / (4 * busy),
        "instruction issue": issued_instructions / (4 * busy),
        "DRAM": compulsory_bytes / a.dram_bytes,
    }
    if a.l2_bytes is not None:
        # Loads to registers may be served by L1; asynchronous copies pass it by.
        moved = counters.async_bytes + 32 * counters.store_sectors
        parts["L2"] = moved / (a.l2_bytes * a.clock_hz)
    return LowerBound(arch, parts)
