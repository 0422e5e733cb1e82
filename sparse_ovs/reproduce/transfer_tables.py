"""The transfer table, and what its arms differ by."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from sparse_ovs.reproduce.encoders import ARMS, DENSE, mask_cell_name
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.tables import Table, difference, spread

Records = Mapping[str, dict[str, Any]]
# What is told from what: the first less the second.
PAIRS = (
    ("imp", "oneshot"),
    ("imp", "random-like"),
    ("random-like", "random"),
    ("imp4x1", "imp"),
    ("imp", DENSE),
)


def percents(
    records: Records, experiment: Experiment, column: str, prefix: str, also: str = ""
) -> list[float]:
    """Scores of a column in percent, seed by seed, where both cells are there.

    Args:
        prefix: of the cells' names, to which the seed is added.
        also: of cells that must be there too, for pairs.
    """
    return [
        100 * records[f"{prefix}{seed}"]["scores"][column]
        for seed in range(experiment.seeds)
        if f"{prefix}{seed}" in records and (not also or f"{also}{seed}" in records)
    ]


def of_seeds(records: Records, experiment: Experiment, prefix: str) -> list[dict[str, Any]]:
    """Records of the cells of a prefix that are done, seed by seed."""
    names = (f"{prefix}{seed}" for seed in range(experiment.seeds))
    return [records[name] for name in names if name in records]


def transfer_table(experiment: Experiment, records: Records) -> Table:
    """Every head on every arm."""
    columns = list(experiment.columns())
    times = records.get("timing/encoders", {})
    large = "large" in times
    rows = []
    for head in experiment.transfer.recipes:
        for arm, title in ARMS.items():
            prefix = f"transfer/{head}/{arm}/"
            cells = of_seeds(records, experiment, prefix)
            if not cells:
                continue
            row = [head, title]
            row += [spread(percents(records, experiment, name, prefix)) for name in columns]
            row += [
                f"{mean(cell['encoder_weights'] for cell in cells) / 1e3:,.0f}",
                f"{cells[0]['head_parameters'] / 1e3:,.0f}",
                f"{mean(cell['macs'] for cell in cells) / 1e6:.1f}",
                *_time(times.get("own"), arm),
                *(_time(times.get("large"), arm) if large else ()),
            ]
            rows.append(tuple(row))
    about = experiment.timing
    own = f"{experiment.model}, {about.size} px"
    names = ["head", "encoder", *(f"mIoU {name}" for name in columns)]
    names += ["encoder weights, k", "head parameters, k", "MMAC", f"ms: {own}", "times torch"]
    if large:
        names += [f"ms: {about.large}, {about.large_size} px", "times torch"]
    note = (
        "Mean and standard deviation over the seeds, in percent. All encoders start from the same "
        "weights, get the same steps, and differ in their masks alone. MMAC: of the whole "
        f"segmenter for one image of {experiment.image_size} px, pruned weights left out. "
        + _clock(times)
    )
    return Table("transfer", "Transfer", tuple(names), tuple(rows), (note,))


def transfer_differences(experiment: Experiment, records: Records) -> Table:
    """What one arm is better by than another, seed by seed."""
    rows = []
    for head in experiment.transfer.recipes:
        for a, b in PAIRS:
            one, other = (f"transfer/{head}/{arm}/" for arm in (a, b))
            apart = differences(experiment, records, one, other)
            rows.append((head, f"{ARMS[a]} less {ARMS[b]}", *apart))
    names = ("head", "difference", *(f"mIoU {name}" for name in experiment.columns()))
    note = "Points of mIoU: mean and standard deviation of the seeds' differences."
    return Table("transfer-differences", "Transfer: differences", names, tuple(rows), (note,))


def differences(experiment: Experiment, records: Records, one: str, other: str) -> list[str]:
    """By column of scores, what cells of one prefix are better by than those of another."""
    return [
        difference(
            percents(records, experiment, name, one, other),
            percents(records, experiment, name, other, one),
        )
        for name in experiment.columns()
    ]


def densities(records: Records) -> dict[str, dict[str, float]]:
    """Kept fraction by arm, then by layer, of seed 0."""
    return {
        title: records[mask_cell_name(arm, 0)]["densities"]
        for arm, title in ARMS.items()
        if mask_cell_name(arm, 0) in records
    }


def _time(times: Mapping[str, Any] | None, arm: str) -> tuple[str, str]:
    if times is None or arm not in times["arms"]:
        return "-", "-"
    found = times["arms"][arm]
    return f"{found['ms']:.2f}", f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _clock(times: Mapping[str, Any]) -> str:
    if not times:
        return "Times were not measured yet."
    machine = times["machine"]
    plural = "s" if machine["threads"] > 1 else ""
    return (
        "Times: the encoder alone through the engine, batch 1, in turn with the fastest dense "
        f"torch ({times['own']['baseline']}), median and quartiles of the rounds' ratios; "
        f"{machine['cpu']}, {machine['isa']}, {machine['threads']} thread{plural}, "
        f"torch {machine['torch']}."
    )
