"""The fine-tuning table, and what its arms differ by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.tables import Table, spread
from sparse_ovs.reproduce.transfer_tables import (
    Records,
    differences_table,
    of_seeds,
    percents,
)
from sparse_ovs.reproduce.tuning import FULL, RULES, STATES, cell_prefix

# What is told from what: the first less the second.
_CONTROLS = (FULL, "alpha*", "random", "random-macs", "all-3x3", "farms", "adaptive", "ensemble")
PAIRS = (
    *(("alpha", other) for other in _CONTROLS),
    ("alpha25", "random25"),
    ("alpha75", "random75"),
)


def tuning_table(experiment: Experiment, records: Records) -> Table:
    """Every arm, dense and sparse."""
    columns = list(experiment.columns())
    rows = []
    for state in STATES:
        for arm, rule in RULES.items():
            prefix = cell_prefix(state, arm)
            cells = of_seeds(records, experiment, prefix)
            if not cells:
                continue
            images = cells[0]["steps"] * cells[0]["images"]
            rows.append(
                (
                    state,
                    rule.title,
                    f"{mean(len(cell['frozen']) for cell in cells):.0f}",
                    f"{100 * mean(cell['frozen_macs'] for cell in cells):.1f}",
                    f"{mean(cell['step_macs'] for cell in cells) * images / 1e12:.3f}",
                    f"{mean(cell['step_macs_paper'] for cell in cells) * images / 1e12:.3f}",
                    f"{mean(cell['step_macs_encoder'] for cell in cells) * images / 1e12:.4f}",
                    _milliseconds(cells, "seconds_a_step"),
                    _milliseconds(cells, "cpu_seconds_a_step"),
                    *(spread(percents(records, experiment, name, prefix)) for name in columns),
                )
            )
    names = (
        "encoder",
        "frozen",
        "layers",
        "frozen MACs, %",
        "TMAC",
        "TMAC, paper's rule",
        "TMAC of the encoder",
        "ms a step",
        "CPU ms a step",
        *(f"mIoU {name}" for name in columns),
    )
    note = (
        "Layers are chosen once, after a first part in which everything learns, and stay frozen "
        "for the rest; BatchNorm goes on learning. TMAC: of the rest's training, forward and "
        "backward, by our count and by the paper's rule. ms: of a training step on one thread, by "
        "the clock, other cells beside it, and of its CPU. Mean and standard deviation over the "
        "seeds."
    )
    title = f"Fine-tuning with frozen layers ({experiment.tuning.recipe})"
    return Table("tuning", title, names, tuple(rows), (note,))


def tuning_differences(experiment: Experiment, records: Records) -> Table:
    """What alpha is better by than the controls, seed by seed, dense, sparse and in both."""
    groups = {
        title: {
            f"{RULES[a].title} less {RULES[b].title}": [
                (cell_prefix(state, a), cell_prefix(state, b)) for state in states
            ]
            for a, b in PAIRS
        }
        for title, states in {**{s: (s,) for s in STATES}, "mean of both": STATES}.items()
    }
    title = "Fine-tuning: differences"
    return differences_table("tuning-differences", title, "encoder", experiment, records, groups)


def _milliseconds(cells: Sequence[Mapping[str, Any]], key: str) -> str:
    """Of the cells that were timed: a killed one may have had too few steps left."""
    return spread([1e3 * cell[key] for cell in cells if key in cell], 0)
