"""reproduce: an experiment from its name to its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sparse_ovs.reproduce.cells import Cell, Store, records
from sparse_ovs.reproduce.cost import cost_cells
from sparse_ovs.reproduce.encoders import encoder_cells
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.report import write_report
from sparse_ovs.reproduce.runner import run_cells
from sparse_ovs.reproduce.transfer import transfer_cells
from sparse_ovs.reproduce.tuning import tuning_cells

PARTS = {
    "encoders": encoder_cells,
    "transfer": transfer_cells,
    "alpha": tuning_cells,
    "cost": cost_cells,
}


def cells_of(experiment: Experiment, parts: Sequence[str] = tuple(PARTS)) -> list[Cell]:
    """The cells of some parts, each once.

    Raises:
        ValueError: no such part.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise ValueError(f"expected parts of {', '.join(PARTS)}, got {', '.join(unknown)}")
    return list({c.name: c for part in parts for c in PARTS[part](experiment)}.values())


def reproduce(
    scale: str,
    experiment: Experiment,
    folder: Path,
    parts: Sequence[str] = tuple(PARTS),
    jobs: int = 2,
    console: Console | None = None,
) -> Sequence[Path]:
    """Does what is not done yet, then writes the report of all that is.

    Args:
        scale: the experiment's name, for the report.
        folder: for records, files, and `report/`.
        parts, jobs: see `cells_of` and `run_cells`.

    Returns:
        The report's files.

    Raises:
        ValueError: see `run_cells`.
    """
    run_cells(
        experiment, cells_of(experiment, parts), folder, jobs, console or Console(stderr=True)
    )
    return report(scale, experiment, folder)


def report(scale: str, experiment: Experiment, folder: Path) -> Sequence[Path]:
    """Writes the report of what is done in a folder."""
    done = records(cells_of(experiment), Store(folder, experiment))
    return write_report(scale, experiment, done, folder / "report")
