"""What a launch of so much useful work cost: the figures that its budget holds down."""

from __future__ import annotations

from gpu.emulation.kernel import Counters


def measures(counters: Counters, useful_flops: float) -> dict[str, float]:
    """Figures of one launch, lower is better.

    Args:
        useful_flops: that the result needs, 2 for each kept weight and output it goes into.
    """
    wavefronts = counters.shared_load_wavefronts + counters.shared_store_wavefronts
    sectors = counters.load_sectors + counters.store_sectors
    return {
        "warp_instructions_per_mflop": counters.instructions_per_mflop(useful_flops),
        "sectors_per_mflop": sectors / useful_flops * 1e6,
        "wavefronts_per_mflop": wavefronts / useful_flops * 1e6,
        "sectors_per_load": counters.sectors_per_load,
        "sectors_per_store": counters.sectors_per_store,
        "wavefronts_per_shared_load": counters.wavefronts_per_shared_load,
        "wavefronts_per_shared_store": counters.wavefronts_per_shared_store,
    }
