"""What a measurement belongs to: this machine, and the library as it is now."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import sparse_ovs
from sparse_ovs import _native
from sparse_ovs._native import loading


def describe_machine() -> dict[str, str]:
    """CPU, kernels, what multiplies int8, cores, memory, system, Python."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _native.cpu_name(),
        "isa": _native.unavailable_reason() or _native.isa(),
        "int8": int8_instructions(Path("/proc/cpuinfo")),
        "cores": str(cores),
        "memory": f"{pages / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


# Floors and goals of int8 are ratios on a CPU with these.
VNNI = "AVX-512 VNNI"


def int8_instructions(cpuinfo: Path) -> str:
    """The most that the CPU has for dense int8: AMX, AVX-512 VNNI, AVX-VNNI or none; unknown where
    the system does not tell."""
    try:
        flags = next(t for t in cpuinfo.read_text().splitlines() if t.startswith("flags")).split()
    except (OSError, StopIteration):
        return "unknown"
    names = {"amx_int8": "AMX", "avx512_vnni": VNNI, "avx_vnni": "AVX-VNNI"}
    return next((name for flag, name in names.items() if flag in flags), "none")


def code_fingerprint() -> str:
    """Changes with the compiled library and with every Python file of the package."""
    digest = hashlib.sha256()
    package = Path(sparse_ovs.__file__).parent
    library = next((p for p in loading.candidates() if p.is_file()), None)
    for path in [*sorted(package.rglob("*.py")), *([library] if library else [])]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def busy_seconds() -> float:
    """Core seconds that this machine has worked, or was kept from working by its host, since it
    started; NaN where the system does not tell."""
    try:
        ticks = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError):
        return float("nan")
    _, _, _, idle, waiting, *_ = ticks
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    """Core seconds of this process's children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def available_mb() -> float:
    """Memory that a new process may use, in MB; infinite where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return float("inf")
