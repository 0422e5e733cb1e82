"""Logs: rows without duplicates or gaps, and TensorBoard's where it is installed."""

import builtins
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sparse_ovs.loop.logs import CsvLog
from sparse_ovs.loop.tensorboard import TensorBoardLog


def test_the_first_row_names_the_columns_and_numbers_read_back_exactly(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "log.csv")
    log.write({"step": 1, "loss": 0.1 + 0.2, "a,b": float("nan")})
    log.write({"a,b": 3.0, "step": 2, "loss": 1e-300})
    log.close()
    text = (tmp_path / "log.csv").read_text()
    assert text == 'step,loss,"a,b"\n1,0.30000000000000004,nan\n2,1e-300,3.0\n'


def test_rows_are_in_the_file_as_soon_as_they_are_written(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "log.csv")
    log.write({"step": 1})
    assert (tmp_path / "log.csv").read_text() == "step\n1\n"


@pytest.mark.parametrize("rest", ["", "2\n3\n", "2"])
def test_what_was_written_after_the_checkpoint_is_cut_off(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "log.csv"
    log = CsvLog(path)
    log.write({"step": 1})
    length = log.sync()
    log.close()
    path.write_text(path.read_text() + rest)
    log = CsvLog(path, length)
    log.write({"step": 2})
    assert log.sync() == path.stat().st_size
    log.close()
    assert path.read_text() == "step\n1\n2\n"


def test_a_log_that_lost_rows_is_warned_of_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    with pytest.warns(UserWarning, match=r"expected 30 bytes or more in .*log.csv, got 0"):
        log = CsvLog(path, 30)
    log.write({"step": 7})
    log.close()
    assert path.read_text() == "step\n7\n"


def test_other_columns_are_refused_also_after_a_resume(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "log.csv")
    log.write({"step": 1, "loss": 2.0})
    length = log.sync()
    log.close()
    log = CsvLog(tmp_path / "log.csv", length)
    with pytest.raises(ValueError, match=r"expected the columns \['step', 'loss'\] of .* got "):
        log.write({"step": 2})


def test_a_missing_tensorboard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> ModuleType:
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="expected the package tensorboard for a TensorBoard"):
        TensorBoardLog(tmp_path, 0)


def test_events_after_the_checkpoint_are_purged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            calls.append((folder, purge_step))

        def add_scalar(self, *scalar: Any) -> None:
            calls.append(scalar)

        def flush(self) -> None:
            calls.append("flush")

        def close(self) -> None:
            calls.append("close")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    log = TensorBoardLog(tmp_path, 10)
    log.write(11, {"loss": 0.5, "lr": 0.1})
    log.flush()
    log.close()
    scalars = [("loss", 0.5, 11), ("lr", 0.1, 11)]
    assert calls == [(str(tmp_path), 11), *scalars, "flush", "close"]


def test_events_can_be_read_back(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    log = TensorBoardLog(tmp_path, 0)
    log.write(1, {"loss": 0.5})
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5)]
