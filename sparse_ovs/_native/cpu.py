"""The CPU and the instruction sets whose kernels run on it."""

from __future__ import annotations

import platform
from pathlib import Path

from sparse_ovs._native.loading import library


def isa() -> str:
    """Name of the instruction set whose kernels run here: generic, avx2, avx512 or neon."""
    return library().sovs_isa().decode()


def available_isas() -> list[str]:
    """Instruction sets that both this build and this CPU have, widest first."""
    return library().sovs_available_isas().decode().split(",")


def bf16_isa() -> str | None:
    """What multiplies bf16 maps here: "amxbf16" or "avx512bf16"; None where nothing does."""
    name = library().sovs_bf16_isa()
    return None if name is None else name.decode()


def cpu_name() -> str:
    """The CPU's model name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
