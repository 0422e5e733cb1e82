"""`compute-sanitizer` on the smoke cases."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_runs.place import Place
from gpu_runs.plan import SMOKE


def run(item: str, place: Place) -> Iterator[dict[str, Any]]:
    """A row of kind `sanitizer` of one tool; a rehearsal runs the cases without it."""
    found = shutil.which("compute-sanitizer")
    if found is None and not place.rehearsing:
        yield {"kind": "problem", "of": "compute-sanitizer", "text": "not on the PATH"}
        return
    checker = [] if place.rehearsing else [str(found), "--tool", item, "--print-limit", "10"]
    checker += [] if place.rehearsing else ["--error-exitcode", "99"]
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines"
        child = [sys.executable, "-m", "gpu_runs.child", "smoke", str(lines), str(place.results)]
        # Otherwise torch hands out parts of larger blocks, and a step over an end stays unseen.
        environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        made = subprocess.run(
            [*checker, *child, *SMOKE], capture_output=True, text=True, env=environment
        )
        told = lines.read_text() if lines.exists() else ""
    output = made.stdout + made.stderr
    yield {
        "kind": "sanitizer",
        "tool": item,
        "exit": made.returncode,
        "families_run": told.count('{"done"'),
        "summary": [line for line in output.splitlines() if "SUMMARY" in line],
        "tail": output[-3000:],
    }
