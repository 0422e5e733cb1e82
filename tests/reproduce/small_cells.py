"""Cells that do next to nothing, for tests of what runs them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sparse_ovs.reproduce.cells import Cell, Say, Store
from sparse_ovs.reproduce.experiment import Experiment


@dataclass(frozen=True)
class Note(Cell):
    """Writes its name into a file, after those of the cells that it needs; counts its runs."""

    kept: ClassVar[tuple[str, ...]] = ("note.txt",)

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        begun = time.monotonic()
        folder = store.folder_of(self.name)
        notes = [(store.folder_of(name) / "note.txt").read_text() for name in self.needs]
        (folder / "note.txt").write_text("".join([*notes, self.name]))
        (folder / "work.txt").write_text("removed in the end")
        runs = store.folder / f"runs-of-{self.name}"
        runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
        time.sleep(0.2)
        return {"text": (folder / "note.txt").read_text(), "from": begun, "to": time.monotonic()}


@dataclass(frozen=True)
class Alone(Note):
    """Measures a time, or would."""

    alone: ClassVar[bool] = True


@dataclass(frozen=True)
class Broken(Cell):
    """Fails."""

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        raise RuntimeError("expected luck, got none")


def runs(folder: Path, name: str) -> int:
    """How often a Note ran."""
    path = folder / f"runs-of-{name}"
    return len(path.read_text()) if path.exists() else 0
