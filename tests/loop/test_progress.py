"""Rates and time left by a clock that the test turns, and the bar on a console in memory."""

import io

import pytest
from rich.console import Console

from sparse_ovs.loop import Report, progress_bar
from sparse_ovs.loop.progress import Meter


def test_rates_are_recent_and_the_time_left_is_at_the_average_of_this_process() -> None:
    now = 100.0
    meter = Meter(10, 30, items_per_step=8, clock=lambda: now)
    now = 104.0
    first = meter.report(12, {"loss": 1.0})
    assert first == Report(12, 30, {"loss": 1.0}, items_per_second=4.0, eta_seconds=36.0)
    now = 105.0
    second = meter.report(15, {})
    assert second.items_per_second == pytest.approx(24.0)
    assert second.eta_seconds == pytest.approx(15.0)


def test_the_bar_shows_step_loss_rate_and_time_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with progress_bar(console, "pruning") as show:
        show(Report(30, 120, {"loss": 0.12345}, items_per_second=17.26, eta_seconds=3725.4))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("pruning", "30/120", "loss 0.1235", "17.3 items/s", "1:02:05 left"):
        assert part in text


def test_nothing_is_printed_where_nobody_watches() -> None:
    console = Console(file=io.StringIO())
    with progress_bar(console, "pruning") as show:
        show(Report(1, 2, {"loss": 1.0}, 1.0, 1.0))
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
