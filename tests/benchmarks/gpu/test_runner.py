"""Steps run in children that may die, hang or never begin; the record is whole all the while."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_runs import results
from gpu_runs.reporting.tables import markdown
from support.fake_gpu_runs import made_of, make_runner


def states(record: dict[str, object], step: int = 0) -> dict[str, str]:
    steps = record["steps"]
    assert isinstance(steps, list)
    return {name: item["status"] for name, item in steps[step]["items"].items()}


def processes(record: dict[str, object]) -> list[str]:
    return [row["text"] for row in results.rows_of(record, lambda row: True)]


def test_items_share_a_process_and_their_rows_are_kept(tmp_path: Path) -> None:
    record = make_runner(tmp_path).run([made_of("one", "two")], {"machine": {}})
    assert states(record) == {"one": "done", "two": "done"}
    assert len(processes(record)) == 2
    assert len(set(processes(record))) == 1
    assert record["steps"][0]["status"] == "done"
    assert results.read(tmp_path / "results.json")["finished"]


def test_an_item_that_fails_is_told_and_the_process_goes_on(tmp_path: Path) -> None:
    record = make_runner(tmp_path).run([made_of("fails", "two")], {})
    assert states(record) == {"fails": "failed", "two": "done"}
    assert record["steps"][0]["items"]["fails"]["reason"] == "ValueError: expected more"
    assert len(set(processes(record))) == 1
    assert record["steps"][0]["status"] == "incomplete"


def test_what_a_dead_process_leaves_is_run_in_another(tmp_path: Path) -> None:
    record = make_runner(tmp_path).run([made_of("one", "dies", "three")], {})
    assert states(record) == {"one": "done", "dies": "failed", "three": "done"}
    assert "ended by SIGSEGV" in record["steps"][0]["items"]["dies"]["reason"]
    assert len(set(processes(record))) == 2


def test_a_process_that_lost_the_gpu_is_followed_by_another(tmp_path: Path) -> None:
    record = make_runner(tmp_path).run([made_of("loses the GPU", "two")], {})
    assert states(record) == {"loses the GPU": "done", "two": "done"}
    assert len(set(processes(record))) == 2


def test_an_item_that_hangs_leaves_time_to_the_others(tmp_path: Path) -> None:
    record = make_runner(tmp_path, minutes=0.1).run([made_of("hangs", "two")], {})
    assert states(record) == {"hangs": "failed", "two": "done"}
    assert "no end after" in record["steps"][0]["items"]["hangs"]["reason"]


def test_a_process_that_never_begins_fails_all_items_once(tmp_path: Path) -> None:
    record = make_runner(tmp_path).run([made_of("absent", "two")], {})
    assert states(record) == {"absent": "failed", "two": "failed"}
    assert "not begun: exit 1: no torch here" in record["steps"][0]["items"]["two"]["reason"]


def test_what_does_not_fit_any_more_is_skipped_with_its_reason(tmp_path: Path) -> None:
    slow = made_of("hangs 1", "hangs 2", "hangs 3", share=0.5, name="slow")
    later = made_of("one", share=0.5, name="later")
    large = made_of("two", share=0.0, name="large")
    large = type(large)(large.name, "module", "asks", {"two": 100.0}, 0.0)
    record = make_runner(tmp_path, minutes=0.1).run([slow, later, large], {})
    assert states(record)["hangs 1"] == "failed"
    assert states(record)["hangs 3"] == "skipped"
    assert states(record, 1) == {"one": "done"}
    assert record["steps"][2]["status"] == "skipped"
    assert "its first item needs about 110 s" in record["steps"][2]["reason"]


def test_what_a_tuner_found_joins_the_record(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    runner.tunings = tmp_path / "gpu_tunings.json"
    tunings = {"a GPU": {"[1]": {"[2]": "bsr[64, 64]"}}}
    runner.tunings.write_text(json.dumps({"format_version": 1, "tunings": tunings}))
    assert runner.run([made_of("one")], {})["tunings"] == tunings
    runner.tunings.write_text("{")  # half of a file
    assert runner.run([made_of("one")], {})["tunings"] == {}


_CUT = """
import sys
from pathlib import Path
from support.fake_gpu_runs import made_of, make_runner
steps = [made_of("one", "slow", share=0.5, name="first"), made_of("hangs", share=0.5, name="last")]
make_runner(Path(sys.argv[1])).run(steps, {"machine": {}})
"""


@pytest.mark.parametrize("reached", ['"waiting"', '"running"', '"status": "done"', '"of": "hangs"'])
def test_a_run_cut_anywhere_leaves_a_record_that_can_be_drawn(reached: str, tmp_path: Path) -> None:
    tests = Path(__file__).parents[2]
    paths = [tests, tests.parent / "benchmarks" / "gpu"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    process = subprocess.Popen([sys.executable, "-c", _CUT, str(tmp_path)], env=environment)
    file, end = tmp_path / "results.json", time.monotonic() + 60
    while not (file.exists() and reached in file.read_text()):
        assert time.monotonic() < end
        assert process.poll() is None or reached in file.read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    record = results.read(file)
    text = markdown(record)
    assert "| first |" in text
    assert record.get("finished") or "The run was cut off" in text
