"""The record stays JSON, whatever is put into it, and below its size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpu_runs import results
from gpu_runs.lines import Listener, Teller
from support.fake_gpu_runs import record_of


def test_long_texts_are_cut_and_say_so() -> None:
    cut = results.plain({"log": "a" * 3000 + "b" * 3000})["log"]
    assert len(cut) < 4100
    assert cut.startswith("aaa")
    assert cut.endswith("bbb")
    assert "(2000 characters are left out)" in cut


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    row = {"kind": "check", "error": float("nan"), "ms": float("inf"), "path": tmp_path}
    results.write(tmp_path / "results.json", record_of(row))
    (found,) = results.rows_of(results.read(tmp_path / "results.json"), lambda row: True)
    assert found == {"kind": "check", "error": None, "ms": None, "path": str(tmp_path)}


def test_a_record_that_is_too_large_loses_rows_and_says_how_many() -> None:
    record = record_of(*({"kind": "problem", "text": "x" * 1000} for _ in range(100)))
    text = results.encode(record, largest=20_000)
    assert len(text) <= 20_000
    (step,) = json.loads(text)["steps"]
    item = step["items"]["item"]
    assert len(item["rows"]) + item["rows_left_out"] == 100
    assert item["rows"]


def test_tunings_that_are_too_large_go_last() -> None:
    record = {**record_of(), "tunings": {"a GPU": {str(i): {"size": "bsr"} for i in range(5000)}}}
    found = json.loads(results.encode(record, largest=20_000))
    assert found["tunings"] == {}
    assert found["notes"] == ["too large: tunings are left out"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 2}', '{"format_version": 1}'])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match="expected results of a run in"):
        results.read(tmp_path / "other.json")


def test_a_listener_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    listener = Listener(path)
    assert listener.new() == []
    teller = Teller(path)
    teller.tell("begin", "one")
    with path.open("a") as file:
        file.write('{"row": {"kin')
        file.flush()
        assert listener.new() == [("begin", "one")]
        file.write('d": "check"}}\n')
    assert listener.new() == [("row", {"kind": "check"})]
