"""What int8 contestants load: made once, in a process whose memory is not the contestant's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from peer_runs.workers.protocol import Job


def quantized(job: Job, tool: str) -> Path:
    """The folder beside the job's weights that a tool fills; complete or not there.

    Args:
        tool: module of peer_runs.workers that calls `make`.

    Raises:
        RuntimeError: the tool failed; its last line says why.
    """
    folder = Path(job.weights).with_name(tool)
    if folder.is_dir():
        return folder
    making = folder.with_name(f".making-{tool}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    command = [sys.executable, "-m", f"peer_runs.workers.{tool}", json.dumps(asdict(job))]
    done = subprocess.run(
        [*command, str(making)], stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False
    )
    sys.stderr.write(done.stderr)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"{tool} ended with {done.returncode}")
    making.rename(folder)
    return folder


def make(tool: Callable[[Job, Path], None]) -> None:
    """A tool's main: it gets the job, and the folder for its files."""
    tool(Job(**json.loads(sys.argv[1])), Path(sys.argv[2]))
