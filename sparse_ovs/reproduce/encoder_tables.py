"""What pruned encoders still name, by arm and density, and what arms differ by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from sparse_ovs.reproduce.encoders import ARMS, DENSE, encoder_cell_name, encoder_prefix
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.statistics import POWER, Paired, paired, seeds_needed
from sparse_ovs.reproduce.tables import DIFFERENCES, Table, difference_cells, spread

Records = Mapping[str, dict[str, Any]]
# What is told from what: the first less the second.
PAIRS = (
    ("imp", DENSE),
    ("imp", "oneshot"),
    ("imp", "obs"),
    ("obs", "oneshot"),
    ("imp", "random-like"),
    ("imp", "random"),
    ("oneshot", "random"),
    ("random-like", "random"),
    ("imp4x1", "imp"),
)


def encoder_table(experiment: Experiment, records: Records) -> Table:
    """Every arm at every density."""
    splits = experiment.naming.splits
    rows = []
    for density, arm in [(1.0, DENSE), *((d, arm) for d in experiment.densities for arm in ARMS)]:
        cells = list(_by_seed(experiment, records, arm, density).values())
        if not cells:
            continue
        row = [f"{density:g}", ARMS[arm]]
        row.append(f"{100 * mean(cell.get('macs_kept', 1.0) for cell in cells):.1f}")
        for split in splits:
            for key in ("names_before", "names"):
                row.append(spread([100 * cell[key][split] for cell in cells if key in cell]))
        rows.append((*row, str(len(cells))))
    names = ["density", "encoder", "MACs kept, %"]
    for split in splits:
        names += [f"{split}, before repair", split]
    pictures = experiment.naming.pictures
    steps = experiment.pruning.steps
    note = (
        f"Zero-shot top-1 in percent, of 200 names, on {pictures} pictures of each by a hand that "
        "no training showed. Before repair: BatchNorm estimated anew, but for OBS, which solved "
        "for it as it is; IMP was trained between its rounds. All arms got "
        f"{steps} steps of distillation in all; mean ± standard deviation over the seeds."
    )
    return Table("encoders", "Encoders", (*names, "seeds"), tuple(rows), (note,))


def encoder_differences(experiment: Experiment, records: Records) -> Table:
    """What one arm names more than another after repair, seed by seed, density by density."""
    splits = experiment.naming.splits
    rows: list[tuple[str, ...]] = []
    for density in experiment.densities:
        found = [_differences(experiment, records, density, a, b) for a, b in PAIRS]
        if not any(one for of_pair in found for one in of_pair):
            continue
        columns = [difference_cells(family) for family in zip(*found, strict=True)]
        for (a, b), of_pair, *cells in zip(PAIRS, found, *columns, strict=True):
            called = f"{ARMS[a]} less {ARMS[b]}"
            rows.append((f"{density:g}", called, *cells, _needed(of_pair)))
    names = ("density", "difference", *splits, "seeds for 1 point")
    power = (
        "Seeds for 1 point: that find a difference of 1 point in all columns with a chance of "
        f"{POWER:.0%}, by these deviations, without correction."
    )
    title = "Encoders: differences"
    return Table("encoder-differences", title, names, tuple(rows), (DIFFERENCES, power))


def _by_seed(
    experiment: Experiment, records: Records, arm: str, density: float
) -> dict[int, dict[str, Any]]:
    """Records of the cells that are done."""
    prefix = encoder_prefix(arm, density)
    return {
        s: records[f"{prefix}{s}"] for s in range(experiment.seeds) if f"{prefix}{s}" in records
    }


def _differences(
    experiment: Experiment, records: Records, density: float, a: str, b: str
) -> list[Paired | None]:
    """By split, in points; the dense encoder is the same for every seed."""
    one = _by_seed(experiment, records, a, density)
    if b == DENSE:
        dense = records.get(encoder_cell_name(DENSE, 1.0, 0))
        other = {} if dense is None else dict.fromkeys(one, dense)
    else:
        other = _by_seed(experiment, records, b, density)
    seeds = sorted(one.keys() & other.keys())
    return [
        paired(
            [100 * one[seed]["names"][split] for seed in seeds],
            [100 * other[seed]["names"][split] for seed in seeds],
        )
        if seeds
        else None
        for split in experiment.naming.splits
    ]


def _needed(differences: Sequence[Paired | None]) -> str:
    deviations = [d.deviation for d in differences if d is not None and d.deviation is not None]
    if not deviations:
        return "-"
    needed = seeds_needed(max(deviations))
    return "over 1,000" if needed is None else str(needed)
