"""Builds of sparse_ovs, each in a process of its own that waits for its turn."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from peer_runs.worker_process import WorkerProcess

_BENCHMARKS = Path(__file__).parents[1]
_WORKER = ("-P", "-m", "build_runs.worker")


@dataclass(frozen=True)
class Case:
    """What both builds run.

    Attributes:
        model: an open_clip name.
        pattern, density: see `trunks.make_trunk`.
        shape: of the input, (N, 3, H, W).
    """

    model: str
    pattern: str
    density: float
    shape: tuple[int, int, int, int]
    threads: int

    def job(self) -> dict[str, object]:
        """As the worker's `load` takes it."""
        about = {"pattern": self.pattern, "density": self.density, "shape": self.shape}
        return {
            "model": self.model,
            **dict.fromkeys(("weights", "onnx", "input", "calibration"), ""),
            "threads": self.threads,
            "option": json.dumps(about),
        }


def start(build: Path, threads: int, log: Path) -> WorkerProcess:
    """A worker of a build.

    Args:
        build: a folder that holds sparse_ovs as `pip install --target` leaves it, which borrows
            everything else from this Python; or the Python of an environment that has one.
        threads: cores to stay on.
        log: file that takes what it prints.

    Raises:
        ValueError: neither of these.
    """
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
    paths = [str(_BENCHMARKS)]
    if (build / "sparse_ovs").is_dir():
        # Without site an editable install does not get in between.
        command = [sys.executable, "-S", *_WORKER, cores]
        paths = [str(build.resolve()), *paths, *(p for p in sys.path if Path(p).is_dir())]
    elif build.is_file() and os.access(build, os.X_OK):
        command = [str(build), *_WORKER, cores]
    else:
        raise ValueError(f"expected a folder with sparse_ovs or a Python, got {build}")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("SPARSE_OVS_", "OMP_"))}
    if "SPARSE_OVS_ISA" in os.environ:
        variables["SPARSE_OVS_ISA"] = os.environ["SPARSE_OVS_ISA"]
    variables |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": str(threads)}
    return WorkerProcess(command, variables, log)
