"""Cells: the pieces of an experiment, each done once, its record a line of its table's file."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from sparse_ovs.formats import FileFormatError, replace_file
from sparse_ovs.reproduce.experiment import Experiment

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cell(ABC):
    """One piece of an experiment.

    Attributes:
        name: with slashes, such as "transfer/fcclip/imp/0".
        needs: names of cells whose files it reads.
        alone: whether it measures times: nothing runs beside it then.
        kept: names of its files that stay when it is done; others of its folder are removed.
    """

    name: str
    needs: tuple[str, ...] = ()
    alone: ClassVar[bool] = False
    kept: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        """Does it, or what is left of it; returns a record for JSON."""


class Store:
    """A folder of records (`records/TABLE.jsonl`, a line a cell) and files (`runs/`) of one
    experiment. A cell's table is the first part of its name.

    Raises:
        ValueError: the folder belongs to another experiment.
    """

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self.folder = folder
        about = json.loads(json.dumps(asdict(experiment)))
        path = folder / "experiment.json"
        if path.is_file():
            if json.loads(path.read_bytes()) != about:
                raise ValueError(
                    f"expected a folder of the same experiment, got {folder}, which holds another: "
                    "take a new folder"
                )
            return
        (folder / "records").mkdir(parents=True, exist_ok=True)
        replace_file(path, (json.dumps(about, indent=1) + "\n").encode())

    def folder_of(self, name: str) -> Path:
        """Where a cell works."""
        return self.folder / "runs" / name

    def read(self, name: str) -> dict[str, Any] | None:
        """The record of a cell that is done; else None.

        Raises:
            FileFormatError: a damaged file of records.
        """
        return self._read(self._table(name)).get(name)

    def holds_files(self, cell: Cell) -> bool:
        """Whether the files that others may need are there."""
        return all((self.folder_of(cell.name) / name).exists() for name in cell.kept)

    def do(
        self, cell: Cell, experiment: Experiment, say: Say = lambda text: None
    ) -> dict[str, Any]:
        """Does a cell; its record, which `keep` writes."""
        folder = self.folder_of(cell.name)
        folder.mkdir(parents=True, exist_ok=True)
        record = cell.run(experiment, self, say)
        for path in folder.iterdir():
            if path.name not in cell.kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return record

    def keep(self, name: str, record: dict[str, Any]) -> None:
        """Writes a record, numbers to six digits; one process at a time may."""
        path = self._table(name)
        known = self._read(path) | {name: _rounded(record)}
        lines = [
            json.dumps({"cell": cell, **known[cell]}, separators=(",", ":"))
            for cell in sorted(known)
        ]
        replace_file(path, ("\n".join(lines) + "\n").encode())

    def _table(self, name: str) -> Path:
        return self.folder / "records" / f"{name.partition('/')[0]}.jsonl"

    def _read(self, path: Path) -> dict[str, dict[str, Any]]:
        if not path.is_file():
            return {}
        try:
            found = [json.loads(line) for line in path.read_text().splitlines()]
            return {record.pop("cell"): record for record in found}
        except (ValueError, KeyError, AttributeError) as error:
            raise FileFormatError(
                f"expected a record in JSON on each line, got {path}: {error}"
            ) from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def unfinished(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Cells that are to be done, those first whose files others need: cells without a record, and
    cells that are needed by one of those and whose files are gone."""
    by_name = {cell.name: cell for cell in cells}
    wanted: dict[str, Cell] = {}

    def want(cell: Cell) -> None:
        for name in cell.needs:
            needed = by_name[name]
            if store.read(name) is None or not store.holds_files(needed):
                want(needed)
        wanted.setdefault(cell.name, cell)

    for cell in cells:
        if store.read(cell.name) is None:
            want(cell)
    return list(wanted.values())


def records(cells: Iterable[Cell], store: Store) -> dict[str, dict[str, Any]]:
    """Of those that are done, by name."""
    found = {cell.name: store.read(cell.name) for cell in cells}
    return {name: record for name, record in found.items() if record is not None}
