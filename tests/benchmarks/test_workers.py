"""The line protocol, from a worker's side and from the parent's."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from peer_runs.worker_process import ContestantFailed, WorkerProcess
from peer_runs.workers.protocol import Job, Loaded, memory_of, serve

Job_ = Callable[[str], dict[str, object]]
Start = Callable[[], WorkerProcess]


def talk(*commands: str) -> tuple[list[str], list[Job]]:
    """The answers to some commands, and the jobs that were loaded."""
    jobs: list[Job] = []

    def load(job: Job) -> Loaded:
        jobs.append(job)
        return Loaded(lambda: 1, lambda out: [], {"version": "1"})

    answers = io.StringIO()
    serve(load, io.StringIO("".join(f"{c}\n" for c in commands)), answers)
    return answers.getvalue().splitlines(), jobs


FILES = {"weights": "w", "onnx": "o", "input": "i", "calibration": "c"}
JOB = {"model": "m", **FILES, "threads": 2, "option": "x"}


def test_a_worker_answers_each_command_with_one_line() -> None:
    answers, jobs = talk(f"load {json.dumps(JOB)}", "warm 2", "run 3", "memory", "quit", "warm 1")
    assert jobs == [Job(**JOB)]
    assert len(answers) == 4  # nothing after quit
    assert answers[0] == 'ok {"version": "1"}'
    assert float(answers[1].removeprefix("ok ")) >= 0
    assert set(json.loads(answers[3].removeprefix("ok "))) == {
        "peak_mb",
        "resident_mb",
        "imported_mb",
    }


def test_a_command_out_of_place_is_an_error_and_the_worker_goes_on() -> None:
    answers, _ = talk("run 1", "dance", f"load {json.dumps(JOB)}")
    assert answers[0] == "error RuntimeError: expected load before this, got nothing loaded"
    assert answers[1].startswith("error ValueError: expected load, warm, run")
    assert answers[2].startswith("ok")


def test_a_run_is_one_pass_that_does_not_count_and_the_median_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter([0, 9, 10, 11, 20, 23, 30, 32])  # passes of 9, 1, 3 and 2 seconds
    monkeypatch.setattr("peer_runs.workers.protocol.perf_counter", lambda: next(now))
    answers, _ = talk(f"load {json.dumps(JOB)}", "run 3")
    assert answers[1] == "ok 2000.0"


def test_a_process_loads_runs_and_writes_its_outputs(
    fake_worker: Start, job: Job_, tmp_path: Path
) -> None:
    worker = fake_worker()
    facts = worker.load(job("good"))
    assert "option='good'" in facts["job"]
    assert facts["cores"] == f"[{min(os.sched_getaffinity(0))}]"
    assert worker.warm(2) >= 0
    assert worker.run(2) >= 0
    worker.outputs(tmp_path / "out.npz")
    with numpy.load(tmp_path / "out.npz") as outputs:
        assert outputs["arr_0"].tolist() == [[[[1, 2, 3], [4, 5, 6]]]]
    memory = worker.memory()
    assert memory["peak_mb"] >= memory["resident_mb"] > 5
    assert memory["imported_mb"] == 123
    assert worker.cpu_seconds() > 0


def test_what_a_runtime_prints_goes_to_the_log(
    fake_worker: Start, job: Job_, tmp_path: Path
) -> None:
    fake_worker().load(job("good"))
    log = (tmp_path / "logs" / "0.log").read_text()
    assert "and one from below Python" in log


def test_a_contestant_that_cannot_says_why_in_a_line(fake_worker: Start, job: Job_) -> None:
    with pytest.raises(ContestantFailed, match=r"^ValueError: no such operation$"):
        fake_worker().load(job("fails"))


def test_a_contestant_that_dies_is_told_with_its_last_words(fake_worker: Start, job: Job_) -> None:
    worker = fake_worker()
    with pytest.raises(ContestantFailed, match="load: ended by SIGKILL: illegal something"):
        worker.load(job("dies"))
    with pytest.raises(ContestantFailed, match="warm: ended by SIGKILL"):
        worker.warm(1)


def test_a_contestant_that_hangs_is_ended(fake_worker: Start, job: Job_) -> None:
    worker = fake_worker()
    with pytest.raises(ContestantFailed, match="load: no answer in 0 s"):
        worker.load(job("hangs"), timeout=0.2)
    with pytest.raises(ContestantFailed, match="SIGKILL"):
        worker.warm(1)


def test_closing_ends_the_process(fake_worker: Start) -> None:
    worker = fake_worker()
    worker.close()
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_memory_of_a_process_that_is_not_there_is_nan() -> None:
    assert memory_of("nobody")["peak_mb"] != memory_of("nobody")["peak_mb"]
