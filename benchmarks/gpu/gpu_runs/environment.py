"""What the children are started with, and what is said of the machine before anything runs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gpu_runs.child import REHEARSE

_PACKAGES = (
    "torch",
    "triton",
    "numpy",
    "timm",
    "torchvision",
    "safetensors",
    "scipy",
    "rich",
    "typer",
    "open_clip_torch",
    "pytest",
    "hypothesis",
)


def child_environment(root: Path, out: Path, site: Path, rehearse: bool) -> dict[str, str]:
    """Variables: the site folder first, and every cache in the run's own folder, so that a second
    run compiles nothing again."""
    paths = [site, root / "benchmarks" / "gpu", root / "tests"]
    cache = out / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONUNBUFFERED": "1",
        "SPARSE_OVS_CACHE": str(cache),
        "SPARSE_OVS_EMULATION_CACHE": str(cache),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        REHEARSE: "1" if rehearse else "0",
    }


def describe() -> dict[str, str]:
    """What can be told without torch."""
    found = {"python": f"{platform.python_version()} at {sys.executable}"}
    found |= {name: _version(name) for name in _PACKAGES}
    found["GPU"] = _gpu()
    found["nvcc"] = shutil.which("nvcc") or "not there"
    found["processors"] = str(os.cpu_count())
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def compute_capability() -> int | None:
    """10 * major + minor of the first GPU; None where nvidia-smi does not tell."""
    told = _ask("compute_cap").split("\n")[0].replace(".", "")
    return int(told) if told.isdecimal() else None


def _gpu() -> str:
    told = _ask("name,driver_version,memory.total")
    return told or "none that nvidia-smi tells of"


def _ask(what: str) -> str:
    """nvidia-smi's answer; nothing where there is none."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return made.stdout.strip() if made.returncode == 0 else ""
