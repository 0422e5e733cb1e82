"""What this GPU reaches with nothing of ours, and what is installed beside it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import torch

import sparse_ovs
from gpu_runs.missing import open_clip_is_there
from gpu_runs.place import Place
from sparse_ovs import _cuda, _native
from sparse_ovs.kernels import unavailable_reason as triton_unavailable
from sparse_ovs.profiling.bench.record import describe_machine
from sparse_ovs.profiling.bench.stopwatch import Stopwatch

_TOOLS = ("nvidia-smi", "nvcc", "ncu", "compute-sanitizer", "g++", "cmake")


def run(item: str, place: Place) -> Iterator[dict[str, Any]]:
    """The machine, then copies and products."""
    device = torch.device(place.device)
    yield {"kind": "machine", **describe_machine(device), **_installed()}
    side, megabytes = (64, 1) if place.rehearsing else (8192, 4096)
    yield {"kind": "ceiling", "what": "DRAM", "per_second": _copied(device, megabytes << 20)}
    for name, dtype, tf32 in (
        ("fp16", torch.float16, False),
        ("tf32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        seconds = _seconds(device, lambda a=a, b=b: a @ b)  # type: ignore[misc]
        yield {"kind": "ceiling", "what": name, "per_second": 2 * side**3 / seconds}


def _copied(device: torch.device, size: int) -> float:
    """Bytes a second, those that are read and those that are written."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _seconds(device, lambda: target.copy_(source))


def _seconds(device: torch.device, call: Callable[[], object]) -> float:
    stopwatch = Stopwatch(device, repeats=3)
    return stopwatch.time({"": stopwatch.prepare(call)}, rounds=5).median("") / 1e3


def _installed() -> dict[str, str]:
    found = {name: shutil.which(name) or "not there" for name in _TOOLS}
    found["driver"] = _driver()
    found["sparse_ovs from"] = str(sparse_ovs.__file__)
    found["CPU library"] = _native.unavailable_reason() or "there"
    found["NVRTC"] = _cuda.unavailable_reason() or "there"
    found["Triton kernels"] = triton_unavailable() or "there"
    found["open_clip"] = "there" if open_clip_is_there() else "not there"
    return found


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return made.stdout.strip()
