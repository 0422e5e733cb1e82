"""Fakes that all tests of the peer comparison share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest

import peer_runs
from peer_runs.cases import TABLE
from peer_runs.record import Measurement
from peer_runs.worker_process import WorkerProcess
from sparse_ovs.profiling.errors import MapErrors

FAKE = Path(__file__).with_name("fake_contestant.py")


@pytest.fixture
def input_file(tmp_path: Path) -> Path:
    path = tmp_path / "input.npy"
    numpy.save(path, numpy.arange(1, 7, dtype="float32").reshape(1, 1, 2, 3))
    return path


@pytest.fixture
def job(input_file: Path) -> Callable[[str], dict[str, object]]:
    """A job for the fake contestant, by its option."""

    def make(option: str) -> dict[str, object]:
        files = {"weights": "", "onnx": "", "calibration": "", "input": str(input_file)}
        return {"model": "RN50", "threads": 1, "option": option, **files}

    return make


@pytest.fixture
def fake_worker(tmp_path: Path) -> Iterator[Callable[[], WorkerProcess]]:
    """Starts processes of the fake contestant; they end with the test."""
    started: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        variables = os.environ | {"PYTHONPATH": str(Path(peer_runs.__file__).parents[1])}
        core = str(min(os.sched_getaffinity(0)))
        log = tmp_path / "logs" / f"{len(started)}.log"
        started.append(WorkerProcess([sys.executable, str(FAKE), core], variables, log))
        return started[-1]

    yield start
    for worker in started:
        worker.close()


@pytest.fixture
def measurement() -> Measurement:
    """The table's 224 case in three rounds: ONNX Runtime is the best dense, OpenVINO failed."""
    row = next(row for row in TABLE if row.name == "06-224-best")
    samples = {
        "sparse_ovs": [25.0, 26.0, 24.0],
        "eager": [130.0, 131.0, 129.0],
        "onnxruntime": [100.0, 104.0, 72.0],
    }
    return Measurement(
        row.configuration,
        ["sparse_ovs", "eager", "onnxruntime", "openvino"],
        rounds=3,
        passes=5,
        code="abc",
        versions=dict.fromkeys(["sparse_ovs", "eager", "onnxruntime", "openvino"], "1.0"),
        machine={
            "cpu": "Fast CPU",
            "isa": "avx2",
            "cores": "2",
            "memory": "8 GB",
            "system": "Linux x86_64",
            "python": "3.11.7",
        },
        date="2026-01-02T03:04:05+00:00",
        samples=samples,
        errors=dict.fromkeys(samples, MapErrors(1e-6, 2e-7, 1.0)),
        failures={"openvino": "wrong: relative error 2.0e-01"},
        memory={
            name: {"peak_mb": 500.0, "resident_mb": 450.0, "imported_mb": 400.0} for name in samples
        },
        idle=dict.fromkeys(samples, 0.0),
        facts={},
    )
