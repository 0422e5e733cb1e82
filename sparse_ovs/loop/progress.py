"""How far a run is: rates, time left, and a bar that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from rich import progress
from rich.console import Console


@dataclass(frozen=True)
class Report:
    """A logged step.

    Attributes:
        step: steps done.
        steps: of the whole run.
        metrics: of this step, as in the log.
        items_per_second: since the report before.
        eta_seconds: at the average speed of this process.
    """

    step: int
    steps: int
    metrics: Mapping[str, float]
    items_per_second: float
    eta_seconds: float


class Meter:
    """Measures speed from its construction on.

    Args:
        step: steps done before.
        steps: of the whole run.
        items_per_step: e.g. images.
        clock: seconds.
    """

    def __init__(
        self,
        step: int,
        steps: int,
        items_per_step: int,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._steps, self._items, self._clock = steps, items_per_step, clock
        self._first = self._last = (step, clock())

    def report(self, step: int, metrics: Mapping[str, float]) -> Report:
        """The report after `step` steps; at least one since the last report."""
        now = self._clock()
        recent = (now - self._last[1]) / (step - self._last[0])
        average = (now - self._first[1]) / (step - self._first[0])
        self._last = (step, now)
        rate = self._items / recent if recent else float("inf")
        return Report(step, self._steps, metrics, rate, average * (self._steps - step))


@contextmanager
def progress_bar(
    console: Console, what: str, metrics: Sequence[str] = ()
) -> Iterator[Callable[[Report], None]]:
    """A bar with step, loss, items/s and time left, for a loop's `report`; shows nothing where the
    console is no terminal.

    Args:
        what: is going on, in a word or two.
        metrics: that are shown beside the loss.
    """
    bar = progress.Progress(
        progress.TextColumn(what),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[text]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None, text="")

        def show(report: Report) -> None:
            shown = [f"{name} {report.metrics[name]:.4g}" for name in ("loss", *metrics)]
            rate, left = report.items_per_second, _duration(report.eta_seconds)
            text = ", ".join([*shown, f"{rate:.1f} items/s", f"{left} left"])
            bar.update(task, completed=report.step, total=report.steps, text=text)

        yield show


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
