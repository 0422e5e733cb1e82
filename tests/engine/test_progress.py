"""The progress bar: only for long work, only on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sparse_ovs.engine import progress


def shown(monkeypatch: pytest.MonkeyPatch, terminal: bool, patience: float) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal)
    monkeypatch.setattr(progress, "Console", lambda stderr: console)
    monkeypatch.setattr(progress, "_PATIENCE", patience)
    with progress.Progress("tuning layers", 3) as bar:
        for _ in range(3):
            bar.advance()
    return text.getvalue()


def test_long_work_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tuning layers" in shown(monkeypatch, True, 0.0)


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, True, 60.0) == ""


def test_nothing_goes_to_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, False, 0.0) == ""
