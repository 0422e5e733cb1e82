"""A progress bar for work that turns out to be long, on a terminal's stderr."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType

from rich import progress
from rich.console import Console

_PATIENCE = 1.0  # seconds without a bar


class Progress:
    """Shows nothing unless stderr is a terminal and the work takes more than a second.

    Args:
        what: is being done.
        total: number of `advance` calls to come.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._console = Console(stderr=True)
        self._bar: progress.Progress | None = None
        self._task: progress.TaskID

    def __enter__(self) -> Progress:
        self._start = perf_counter()
        return self

    def advance(self) -> None:
        """One more is about to begin."""
        if self._bar is not None:
            self._bar.advance(self._task)
        elif self._console.is_terminal and perf_counter() - self._start > _PATIENCE:
            self._bar = progress.Progress(console=self._console, transient=True)
            self._task = self._bar.add_task(self._what, total=self._total, completed=self._done)
            self._bar.start()
        self._done += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
