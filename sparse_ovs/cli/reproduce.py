"""sparse-ovs reproduce: the paper's tables, with the controls that it left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sparse_ovs.cli.console import err, out
from sparse_ovs.reproduce.experiment import SCALES, load_experiment
from sparse_ovs.reproduce.needed import missing
from sparse_ovs.reproduce.run import PARTS, cells_of, report
from sparse_ovs.reproduce.run import reproduce as run


def reproduce(
    scale: Annotated[
        str,
        typer.Argument(
            help="smoke: seconds, numbers mean nothing; mini: hours on two cores, offline; "
            "paper: real weights and datasets"
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option("--out", help="for records and report; default: SCALE-out")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(PARTS)}; may be repeated; default: all")
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="processes of one thread each; 0 works in this one")
    ] = 2,
    data: Annotated[
        Path | None,
        typer.Option(help="folder of the datasets; default: $DETECTRON2_DATASETS, else ./datasets"),
    ] = None,
    only_report: Annotated[
        bool, typer.Option("--report", help="write the report of what is done, and stop")
    ] = False,
) -> None:
    """Re-run the paper's tables: transfer, fine-tuning with frozen layers, cost.

    What is done is kept: a run that was killed goes on where it stopped when it is started again.

    `sparse-ovs reproduce smoke`

    `sparse-ovs reproduce mini --out mini --only transfer`
    """
    if scale not in SCALES:
        raise ValueError(f"expected a scale of {', '.join(SCALES)}, got {scale!r}")
    experiment, parts = load_experiment(scale), only or list(PARTS)
    folder = folder or Path(f"{scale}-out")
    cells_of(experiment, parts)
    if only_report:
        _tell(report(scale, experiment, folder))
        return
    if data is not None:
        os.environ["DETECTRON2_DATASETS"] = str(data)  # workers read it too
    if lacking := missing(experiment, parts):
        for line in lacking:
            out.print(f"missing: {line}", markup=False, highlight=False, soft_wrap=True)
        raise ValueError(f"expected all that {scale} needs, {len(lacking)} missing")
    _tell(run(scale, experiment, folder, parts, jobs, err))


def _tell(written: Sequence[Path]) -> None:
    page = next(path for path in written if path.name == "report.html")
    err.print(f"wrote {page} and {len(written) - 1} files beside it")
