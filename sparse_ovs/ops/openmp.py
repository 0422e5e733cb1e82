"""Shares torch's OpenMP threads: two sets of spinning workers would fight for the cores."""

from __future__ import annotations

from pathlib import Path

from sparse_ovs import _native


def share_torch_threads() -> None:
    """Hands the library the OpenMP runtime that torch has loaded; leaves it its own threads where
    there is none, or where the system does not tell."""
    runtime = loaded_openmp()
    if runtime is not None and not _native.unavailable_reason():
        _native.use_openmp(runtime)


def loaded_openmp() -> str | None:
    """Path of the OpenMP runtime in this process, torch's own first; None where none is found."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    files = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if ".so" in line}
    runtimes = sorted(f for f in files if Path(f).name.startswith(("libgomp", "libomp", "libiomp")))
    return next((f for f in runtimes if "torch" in f), runtimes[0] if runtimes else None)
