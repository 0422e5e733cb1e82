"""The transfer table, and what its arms differ by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from sparse_ovs.reproduce.encoders import ARMS, DENSE, encoder_cell_name
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.statistics import Paired, paired
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
    ("random-like", "random"),
    ("imp4x1", "imp"),
)


def percents(records: Records, experiment: Experiment, column: str, prefix: str) -> list[float]:
    """Scores of a column in percent, seed by seed, of the cells of a prefix that are done."""
    return [100 * cell["scores"][column] for cell in of_seeds(records, experiment, prefix)]


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
        "Mean and standard deviation over the seeds, in percent. Pruned encoders were repaired "
        "with the same steps of distillation, and all segmenters are trained with the same steps. "
        "MMAC: of the whole "
        f"segmenter for one image of {experiment.image_size} px, pruned weights left out. "
        + _clock(times)
    )
    return Table("transfer", "Transfer", tuple(names), tuple(rows), (note,))


def transfer_differences(experiment: Experiment, records: Records) -> Table:
    """What one arm is better by than another, seed by seed, in each head and in all."""
    heads = {head: [head] for head in experiment.transfer.recipes}
    groups = {
        title: {
            f"{ARMS[a]} less {ARMS[b]}": [
                (f"transfer/{head}/{a}/", f"transfer/{head}/{b}/") for head in members
            ]
            for a, b in PAIRS
        }
        for title, members in {**heads, "mean of heads": list(heads)}.items()
    }
    return differences_table(
        "transfer-differences", "Transfer: differences", "head", experiment, records, groups
    )


def differences_table(
    name: str,
    title: str,
    of: str,
    experiment: Experiment,
    records: Records,
    groups: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]],
) -> Table:
    """A row for each difference, a column for each score, corrected group by group.

    Args:
        of: what the groups are, the first column's name.
        groups: pairs of prefixes of cells, by group and by what the difference is called; see
            `differences`.
    """
    rows: list[tuple[str, ...]] = []
    for group, pairs in groups.items():
        found = [differences(experiment, records, both) for both in pairs.values()]
        columns = [difference_cells(family) for family in zip(*found, strict=True)]
        rows += [(group, called, *cells) for called, *cells in zip(pairs, *columns, strict=True)]
    names = (of, "difference", *(f"mIoU {column}" for column in experiment.columns()))
    return Table(name, title, names, tuple(rows), (DIFFERENCES,))


def differences(
    experiment: Experiment, records: Records, pairs: Sequence[tuple[str, str]]
) -> list[Paired | None]:
    """By column of scores, what cells of the first prefixes are better by than those of the second,
    in points.

    Args:
        pairs: of prefixes, to which the seed is added; their mean is taken seed by seed, where all
            of the cells are done.
    """
    prefixes = [prefix for pair in pairs for prefix in pair]
    seeds = [
        seed
        for seed in range(experiment.seeds)
        if all(f"{prefix}{seed}" in records for prefix in prefixes)
    ]
    made: list[Paired | None] = []
    for column in experiment.columns():
        one, other = (
            [
                mean(100 * records[f"{pair[side]}{seed}"]["scores"][column] for pair in pairs)
                for seed in seeds
            ]
            for side in (0, 1)
        )
        made.append(paired(one, other) if seeds else None)
    return made


def densities(experiment: Experiment, records: Records) -> dict[str, dict[str, float]]:
    """Kept fraction by arm, then by layer, of seed 0 and the heads' density."""
    names = {title: encoder_cell_name(arm, experiment.density, 0) for arm, title in ARMS.items()}
    return {title: records[n]["densities"] for title, n in names.items() if n in records}


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
    dense = [times[size] for size in ("own", "large") if size in times]
    fastest = ", ".join(
        f"{found['baseline']}: {found['arms'][found['baseline']]['ms']:.2f} ms" for found in dense
    )
    return (
        "Times: the encoder alone through the engine, batch 1, in turn with the fastest dense "
        f"torch ({fastest}), median and quartiles of the rounds' ratios; "
        f"{machine['cpu']}, {machine['isa']}, {machine['threads']} thread{plural}, "
        f"torch {machine['torch']}."
    )
