"""Does an experiment's cells in processes, as many at a time as wanted; a killed run goes on."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console

from sparse_ovs.loop.one_run import hold_folder
from sparse_ovs.reproduce.cells import Cell, Store, unfinished
from sparse_ovs.reproduce.experiment import Experiment

_POLL = 0.3  # seconds


def run_cells(
    experiment: Experiment, cells: Sequence[Cell], folder: Path, jobs: int, console: Console
) -> Store:
    """Does what is not done yet, and shows how far it is.

    Args:
        folder: of the records; cells that are done in it are not done again.
        jobs: processes of one thread each; 0 works in this process, with its threads.

    Raises:
        ValueError: the folder belongs to another experiment, or to a run that goes on.
        Exception: what a cell raised; the others that had begun are done first.
    """
    if jobs < 0:
        raise ValueError(f"expected jobs of at least 0, got {jobs}")
    with hold_folder(folder):
        store = Store(folder, experiment)
        todo = unfinished(cells, store)
        with _bar(console, len({cell.name for cell in cells}), todo) as bar:
            if jobs == 0:
                for cell in todo:
                    bar.begin(cell)
                    store.keep(cell.name, store.do(cell, experiment, bar.say))
                    bar.end(cell)
            else:
                _in_processes(experiment, todo, store, jobs, bar)
    return store


def _in_processes(
    experiment: Experiment, todo: Sequence[Cell], store: Store, jobs: int, bar: _Bar
) -> None:
    waiting = list(todo)
    running: dict[Future[dict[str, Any]], Cell] = {}
    # The children's torch reads it when it is imported.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), _watch_parent, (os.getpid(),)
        ) as pool:
            while waiting or running:
                ahead = {cell.name for cell in (*waiting, *running.values())}
                for cell in list(waiting):
                    if len(running) == jobs or any(c.alone for c in running.values()):
                        break
                    if any(name in ahead for name in cell.needs) or (cell.alone and running):
                        continue
                    waiting.remove(cell)
                    running[pool.submit(_do_one, experiment, cell, store.folder)] = cell
                    bar.begin(cell)
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    cell = running.pop(future)
                    store.keep(cell.name, future.result())
                    bar.end(cell)
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _do_one(experiment: Experiment, cell: Cell, folder: Path) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    return Store(folder, experiment).do(cell, experiment)


def _watch_parent(parent: int) -> None:
    """Ends this process when its parent was killed: nobody else would."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Bar:
    """How many cells are done, and what is being done."""

    def __init__(self, shown: progress.Progress, task: progress.TaskID) -> None:
        self._shown, self._task = shown, task
        self._names: list[str] = []

    def begin(self, cell: Cell) -> None:
        self._names.append(cell.name)
        self.say("")

    def end(self, cell: Cell) -> None:
        self._names.remove(cell.name)
        self._shown.update(self._task, advance=1)
        self.say("")

    def say(self, text: str) -> None:
        doing = ", ".join(self._names)
        self._shown.update(self._task, doing=f"{doing} {text}".strip())


@contextmanager
def _bar(console: Console, every: int, todo: Sequence[Cell]) -> Iterator[_Bar]:
    with progress.Progress(
        progress.TextColumn("{task.completed} of {task.total} cells"),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[doing]}"),
        console=console,
    ) as shown:
        total = max(every, len(todo))
        task = shown.add_task("", total=total, completed=total - len(todo), doing="")
        yield _Bar(shown, task)
