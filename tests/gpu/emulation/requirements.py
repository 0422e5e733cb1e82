"""What this machine lacks for each rung, as reasons for a test to be skipped."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path


def missing_triton() -> str | None:
    """Triton comes with torch's CUDA wheels for Linux."""
    return None if find_spec("triton") else "needs triton, which is not installed"


def missing_compiler() -> str | None:
    """The emulator compiles what it translates."""
    return None if shutil.which("g++") else "needs g++, which is not installed"


def missing_nvrtc() -> str | None:
    """NVRTC, its Python bindings and CUDA's headers come with torch's CUDA wheels."""
    if not (find_spec("cuda") and find_spec("cuda.bindings")):
        return "needs cuda-bindings, which is not installed"
    return None if cuda_headers() else "needs CUDA's headers, which are not installed"


def cuda_headers() -> list[Path]:
    """Folders of CUDA's headers among the installed packages."""
    spec = find_spec("nvidia")
    roots = list(spec.submodule_search_locations or []) if spec else []
    return sorted(
        {file.parent for root in roots for file in Path(root).glob("*/include/cuda_fp16.h")}
    )
