"""Public figures of NVIDIA's architectures: limits of a multiprocessor, and peak rates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """One `sm_NN`, as the GPU named in `example`.

    Rates are a multiprocessor's, in FLOPs (1 MAC = 2) or bytes a clock; `l2_bytes` and
    `dram_bytes` are the whole GPU's: bytes a clock, bytes a second.
    """

    name: str
    example: str
    multiprocessors: int
    clock_hz: float
    warps: int
    blocks: int
    shared_bytes: int
    shared_bytes_a_block: int
    fp16_flops: int
    tf32_flops: int
    fp32_flops: int
    dram_bytes: float
    l2_bytes: float | None = None
    registers: int = 65536


_KIB = 1024
#: Sources: NVIDIA's architecture white papers and the occupancy tables of the CUDA programming
#: guide. The L2's bytes a clock are those of A100's white paper, taken for H100 as well.
ARCHITECTURES = {
    80: Architecture(
        "sm_80",
        "A100",
        108,
        1.41e9,
        64,
        32,
        164 * _KIB,
        163 * _KIB,
        2048,
        1024,
        128,
        1.555e12,
        5120,
    ),
    86: Architecture(
        "sm_86", "A40", 84, 1.74e9, 48, 16, 100 * _KIB, 99 * _KIB, 1024, 512, 256, 0.696e12
    ),
    89: Architecture(
        "sm_89", "L40S", 142, 2.52e9, 48, 24, 100 * _KIB, 99 * _KIB, 1024, 512, 256, 0.864e12
    ),
    90: Architecture(
        "sm_90", "H100", 132, 1.83e9, 64, 32, 228 * _KIB, 227 * _KIB, 4096, 2048, 256, 3.35e12, 5120
    ),
    100: Architecture(
        "sm_100", "B200", 148, 1.85e9, 64, 32, 228 * _KIB, 227 * _KIB, 8192, 4096, 256, 8.0e12
    ),
}


@dataclass(frozen=True)
class Occupancy:
    """How many blocks a multiprocessor holds at once, and what limits them."""

    blocks: int
    warps: int
    share: float  # of the warps it could hold
    limit: str


def occupancy(arch: int, registers: int, shared_bytes: int, warps: int) -> Occupancy:
    """By the rules of CUDA's occupancy calculator: registers go in units of 256 a warp, shared
    memory of 128 bytes and 1 KiB that the system takes of each block."""
    a = ARCHITECTURES[arch]
    per_warp = -(-registers * 32 // 256) * 256
    shared = -(-(shared_bytes + _KIB) // 128) * 128
    limits = {
        "registers": a.registers // 4 // per_warp * 4 // warps,
        "shared memory": a.shared_bytes // shared,
        "warps": a.warps // warps,
        "blocks": a.blocks,
    }
    limit = min(limits, key=lambda name: limits[name])
    blocks = limits[limit]
    return Occupancy(blocks, blocks * warps, blocks * warps / a.warps, limit)


def dense_lower_bound(arch: int, flops: float, *, tensor_format: str = "fp16") -> float:
    """Seconds that a dense product of `flops` (1 MAC = 2) needs at the whole GPU's peak; fp32 is
    computed without tensor cores."""
    a = ARCHITECTURES[arch]
    rate = {"fp16": a.fp16_flops, "tf32": a.tf32_flops, "fp32": a.fp32_flops}[tensor_format]
    return flops / (rate * a.multiprocessors * a.clock_hz)
