"""One run a folder: who holds it keeps others out, and who was killed does not."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.loop import (
    Loop,
    LoopSettings,
    PlaceInUse,
    hold_file,
    hold_folder,
)
from support import small_holders, small_runs
from support.forks import in_child


class _Batches:
    batch_size = 1

    def start(self, number: int) -> Iterator[int]:
        return iter(range(number, 1000))

    def describe(self) -> dict[str, Any]:
        return {}


class _Second:
    """The second of two processes, whose first one tells it whether it was refused."""

    index, count, device = 1, 2, torch.device("cpu")

    def __init__(self, first_is_refused: bool) -> None:
        self._refused = first_is_refused

    def gather(self, counts: np.ndarray) -> np.ndarray:
        return counts[None]

    def mean(self, values: Tensor) -> Tensor:
        return values + 0.5 * self._refused

    def wrap(self, module: nn.Module) -> nn.Module:
        return module


def _start(target: Any, *arguments: Any) -> tuple[Any, Connection]:
    reader, writer = small_runs.pipe()
    return small_runs.process(target, *arguments, writer), reader


def _loop(folder: Path, **options: Any) -> Loop:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def losses(batch: int, number: int) -> dict[str, Tensor]:
        return {"loss": model(torch.ones(1, 1)).sum()}

    return Loop(
        model, optimizer, losses, _Batches(), LoopSettings(steps=2), folder=folder, **options
    )


def test_a_second_process_is_refused_in_one_line_that_names_the_first(tmp_path: Path) -> None:
    first, said = _start(small_holders.hold, tmp_path)
    assert said.recv() == "held"
    second, answer = _start(small_holders.hold, tmp_path)
    refusal = answer.recv()
    second.join()
    assert "\n" not in refusal
    assert refusal.startswith(f"expected a folder that no other run works in, got {tmp_path}, ")
    assert f"in use by process {first.pid} on {socket.gethostname()} since " in refusal
    with pytest.raises(PlaceInUse):  # the refused one took nothing away
        hold_folder(tmp_path).__enter__()
    first.kill()
    first.join()


def test_the_folder_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    first, said = _start(small_holders.hold, tmp_path)
    assert said.recv() == "held"
    first.kill()
    first.join()
    assert first.exitcode == -signal.SIGKILL
    assert (tmp_path / "lock").exists()
    with hold_folder(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_worker_that_outlives_a_killed_run_does_not_hold_the_folder(tmp_path: Path) -> None:
    first, said = _start(small_holders.hold_with_a_worker, tmp_path)
    worker = said.recv()
    first.kill()
    first.join()
    try:
        with hold_folder(tmp_path):
            os.kill(worker, 0)  # it lives
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_number_that_another_process_has_now_holds_up_nobody(tmp_path: Path) -> None:
    """The file names a process that lives, but that is not the one that wrote it."""
    about = {"pid": os.getppid(), "host": socket.gethostname(), "since": "2026-01-01 00:00:00"}
    (tmp_path / "lock").write_text(json.dumps(about))
    with hold_folder(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_of_those_who_take_over_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").write_text("of a run that was killed")
    start = small_runs.event()
    running = [_start(small_holders.take_again_and_again, folder, start) for _ in range(3)]
    start.set()
    counts = [said.recv() for _, said in running]
    for child, _ in running:
        child.join()
    assert sum(taken for taken, _ in counts) > 3
    assert [met for _, met in counts] == [0, 0, 0]


def test_a_second_run_of_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with hold_folder(tmp_path), pytest.raises(PlaceInUse, match=f"in use by process {os.getpid()}"):
        hold_folder(tmp_path).__enter__()


def test_a_forked_child_leaves_its_parents_folder_alone(tmp_path: Path) -> None:
    with hold_folder(tmp_path):
        assert in_child(lambda: _is_refused(tmp_path))
        assert _is_refused(tmp_path)


def test_a_run_that_fails_gives_its_folder_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold_folder(tmp_path):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with hold_folder(tmp_path):
        pass


def test_a_file_is_held_by_another_one_beside_it(tmp_path: Path) -> None:
    with hold_file(tmp_path / "counts"):
        assert [path.name for path in tmp_path.iterdir()] == ["counts.lock"]
        with (
            pytest.raises(PlaceInUse, match="expected a file that no other run works in, got"),
            hold_file(tmp_path / "counts"),
        ):
            pass
        with hold_file(tmp_path / "others"):
            pass


def test_where_files_cannot_be_locked_a_run_is_warned_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.warns(RuntimeWarning, match="expected a file system that locks files at .*No locks"),
        hold_folder(tmp_path),
    ):
        pass


def test_a_loop_holds_its_folder_while_it_runs_and_no_longer(tmp_path: Path) -> None:
    seen: list[bool] = []
    _loop(tmp_path, hooks=[lambda _: seen.append(_is_refused(tmp_path))]).run()
    assert seen == [True, True]
    assert not _is_refused(tmp_path)


def test_a_loop_in_a_folder_of_another_changes_nothing(tmp_path: Path) -> None:
    with hold_folder(tmp_path):
        with pytest.raises(PlaceInUse):
            _loop(tmp_path).run()
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("refused", [True, False])
def test_where_the_first_process_is_refused_the_others_are(tmp_path: Path, refused: bool) -> None:
    with hold_folder(tmp_path):  # by the first process, or by another run
        loop = _loop(tmp_path, processes=_Second(refused))
        if refused:
            with pytest.raises(PlaceInUse):
                loop.run()
        else:
            loop.run()
    assert loop.step == (0 if refused else 2)


def _is_refused(folder: Path) -> bool:
    try:
        with hold_folder(folder):
            return False
    except PlaceInUse:
        return True
