"""Cells are done once each, after what they need, and kept."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest
from reproduce.small_cells import Alone, Broken, Note, runs
from rich.console import Console

from sparse_ovs.formats import FileFormatError
from sparse_ovs.reproduce.cells import Store, unfinished
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.runner import run_cells

QUIET = Console(quiet=True)
CELLS = [Note("a"), Note("b", ("a",)), Note("c", ("a", "b"))]


def test_a_cell_is_done_once_and_finds_what_it_needs(tmp_path: Path) -> None:
    store = run_cells(Experiment(), CELLS, tmp_path, 0, QUIET)
    record = store.read("c")
    assert record is not None
    assert record["text"] == "aabc"
    run_cells(Experiment(), CELLS, tmp_path, 0, QUIET)
    assert [runs(tmp_path, name) for name in "abc"] == [1, 1, 1]


def test_only_the_files_that_a_cell_keeps_stay(tmp_path: Path) -> None:
    store = run_cells(Experiment(), CELLS[:1], tmp_path, 0, QUIET)
    assert [path.name for path in store.folder_of("a").iterdir()] == ["note.txt"]


def test_a_cell_whose_files_are_gone_is_done_again_only_where_they_are_needed(
    tmp_path: Path,
) -> None:
    store = run_cells(Experiment(), CELLS[:2], tmp_path, 0, QUIET)
    shutil.rmtree(tmp_path / "runs")
    assert unfinished(CELLS[:2], store) == []
    assert [cell.name for cell in unfinished(CELLS, store)] == ["a", "b", "c"]
    run_cells(Experiment(), CELLS, tmp_path, 0, QUIET)
    assert [runs(tmp_path, name) for name in "abc"] == [2, 2, 1]


def test_processes_respect_needs_and_leave_times_alone(tmp_path: Path) -> None:
    cells = [*CELLS, Note("d"), Note("e"), Alone("f", ("c",)), Alone("g")]
    store = run_cells(Experiment(), cells, tmp_path, 2, QUIET)
    done = {cell.name: store.read(cell.name) for cell in cells}
    assert all(record is not None for record in done.values())
    assert done["c"]["text"] == "aabc"  # type: ignore[index]
    for alone in "fg":
        for name, record in done.items():
            if name != alone:
                apart = record["to"] <= done[alone]["from"] or record["from"] >= done[alone]["to"]  # type: ignore[index]
                assert apart, (name, alone)


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_cell_that_fails_ends_the_run_and_leaves_no_record(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(RuntimeError, match="expected luck"):
        run_cells(Experiment(), [Note("a"), Broken("b", ("a",))], tmp_path, jobs, QUIET)
    store = Store(tmp_path, Experiment())
    assert store.read("a") is not None
    assert store.read("b") is None


def test_the_folder_of_another_experiment_is_refused(tmp_path: Path) -> None:
    run_cells(Experiment(), CELLS[:1], tmp_path, 0, QUIET)
    with pytest.raises(ValueError, match="expected a folder of the same experiment"):
        run_cells(Experiment(seeds=2), CELLS[:1], tmp_path, 0, QUIET)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="expected a folder that no other run works in"):
            run_cells(Experiment(), CELLS, tmp_path, 0, QUIET)


@pytest.mark.parametrize("damaged", ["{", "3", '{"text": "no cell"}'])
def test_a_damaged_record_is_told(tmp_path: Path, damaged: str) -> None:
    store = run_cells(Experiment(), CELLS[:1], tmp_path, 0, QUIET)
    with (tmp_path / "records" / "a.jsonl").open("a") as file:
        file.write(damaged + "\n")
    with pytest.raises(FileFormatError, match="expected a record in JSON on each line"):
        store.read("a")


def test_records_of_a_table_are_lines_of_one_file_in_the_order_of_their_names(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path, Experiment())
    for name in ("t/b/1", "u/a", "t/b/0"):
        store.keep(name, {"scores": {"seen": 1 / 3}, "frozen": [name, 2]})
    assert (tmp_path / "records" / "t.jsonl").read_text().splitlines() == [
        '{"cell":"t/b/0","scores":{"seen":0.333333},"frozen":["t/b/0",2]}',
        '{"cell":"t/b/1","scores":{"seen":0.333333},"frozen":["t/b/1",2]}',
    ]
    assert store.read("t/b/1") == {"scores": {"seen": 0.333333}, "frozen": ["t/b/1", 2]}
    assert store.read("t/b/2") is None


def test_a_record_that_is_made_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    store = Store(tmp_path, Experiment())
    store.keep("t/a", {"n": 1})
    store.keep("t/a", {"n": 2})
    assert store.read("t/a") == {"n": 2}


def test_negative_jobs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected jobs of at least 0, got -1"):
        run_cells(Experiment(), CELLS, tmp_path, -1, QUIET)
