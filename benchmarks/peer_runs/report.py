"""The comparison as Markdown, JSON and a rich table: ratios with spread, floors and goals,
contestants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from rich.table import Table

from peer_runs.cases import Configuration, Row
from peer_runs.contestants import CONTESTANTS
from peer_runs.machine import VNNI
from peer_runs.record import Measurement
from sparse_ovs.profiling.errors import MapErrors
from sparse_ovs.profiling.timing import Ratio

_NOT_VNNI = {
    "AMX": "its tiles multiply dense int8 and bf16 several times as fast as VNNI, and gathered "
    "non-zeros cannot use them",
    "unknown": "what this CPU multiplies int8 with is unknown",
}


_ROW_HEAD = (
    "case",
    "against",
    "ms",
    "error",
    "sparse_ovs ms",
    "error",
    "ratio",
    "floor",
    "goal",
    "reached",
)


@dataclass(frozen=True)
class Result:
    """A row of the table, measured.

    Attributes:
        peer: the contestant that the ratio is against; None where nobody could be compared.
        peer_ms, ours_ms: medians.
        ratio: of the peer's time over ours.
        peer_errors, ours_errors: of their maps against dense fp32 torch.
        note: why there is no ratio, or who of the row's peers is not in it.
    """

    row: Row
    peer: str | None
    peer_ms: float | None
    ours_ms: float | None
    ratio: Ratio | None
    peer_errors: MapErrors | None
    ours_errors: MapErrors | None
    note: str

    @property
    def verdict(self) -> str:
        """`goal`, `floor` (reached), `below`, `-` where no floor is set, or `not measured`."""
        if self.ratio is None:
            return "not measured"
        if self.row.floor is None or self.row.goal is None:
            return "-"
        if self.ratio.median >= self.row.goal:
            return "goal"
        return "floor" if self.ratio.median >= self.row.floor else "below"

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        ratio = self.ratio
        return {
            "name": self.row.name,
            "configuration": self.row.configuration.name,
            "against": self.row.against_text,
            "peer": self.peer,
            "peer_ms": self.peer_ms,
            "ours": self.row.ours,
            "ours_ms": self.ours_ms,
            "ratio": None if ratio is None else [ratio.low, ratio.median, ratio.high],
            "floor": self.row.floor,
            "goal": self.row.goal,
            "verdict": self.verdict,
            "peer_errors": _plain(self.peer_errors),
            "ours_errors": _plain(self.ours_errors),
            "note": self.note,
        }


def evaluate(row: Row, measurement: Measurement | None) -> Result:
    """The row's ratio from its configuration's measurement."""
    if measurement is None:
        return Result(row, None, None, None, None, None, None, "not run")
    row = _on_machine(row, measurement.machine)
    errors = measurement.errors
    timings, failures = measurement.timings, measurement.failures
    missing = [f"{_label(n)}: {failures[n]}" for n in (*row.against, row.ours) if n in failures]
    skipped = [_label(n) for n in row.against if n not in measurement.contestants]
    notes = missing + ([f"without {', '.join(skipped)}"] if skipped else [])
    present = [name for name in row.against if name in measurement.samples]
    ours_ms = timings.median(row.ours) if row.ours in measurement.samples else None
    if not present or ours_ms is None:
        note = "; ".join(notes) or "no peer ran"
        return Result(row, None, None, ours_ms, None, None, errors.get(row.ours), note)
    peer = timings.fastest(present)
    ratio = timings.ratio(peer, row.ours)
    pair = errors[peer], errors[row.ours]
    return Result(row, peer, timings.median(peer), ours_ms, ratio, *pair, "; ".join(notes))


def _on_machine(row: Row, machine: Mapping[str, str]) -> Row:
    """The row without floor and goal where they are of another kind of CPU."""
    against_peers = not all(CONTESTANTS[name].ours for name in row.against)
    if against_peers and row.configuration.precision == "int8" and machine.get("int8") != VNNI:
        return dataclasses.replace(row, floor=None, goal=None)
    return row


def _plain(errors: MapErrors | None) -> dict[str, float] | None:
    return None if errors is None else dataclasses.asdict(errors)


def console_table(results: Sequence[Result]) -> Table:
    """The rows for a terminal."""
    colours = {"goal": "bold green", "floor": "green", "below": "red", "not measured": "yellow"}
    table = Table(title="sparse_ovs against its peers", title_justify="left")
    for name in _ROW_HEAD:
        table.add_column(name, justify="left" if name in ("case", "against") else "right")
    for result in results:
        table.add_row(*_cells(result), style=colours.get(result.verdict, ""))
    return table


def markdown(
    results: Sequence[Result], measurements: Mapping[Configuration, Measurement], when: str
) -> str:
    """The whole report.

    Args:
        when: date of the report.
    """
    lines = ["# sparse_ovs against its peers", "", *_preamble(measurements, when), ""]
    lines += _table(_ROW_HEAD, [_cells(result) for result in results])
    notes = [f"- {result.row.name}: {result.note}" for result in results if result.note]
    if notes:
        lines += ["", "Not in a ratio:", "", *notes]
    for configuration, measurement in measurements.items():
        lines += ["", f"## {configuration}", "", _how(measurement), ""]
        lines += _table(
            (
                "contestant",
                "version",
                "median ms",
                "quartiles",
                "ratio",
                "peak MB",
                "libraries MB",
                "largest error",
                "relative error",
                "cosine",
            ),
            [_contestant(measurement, name) for name in measurement.contestants],
        )
    return "\n".join(lines) + "\n"


def _preamble(measurements: Mapping[Configuration, Measurement], when: str) -> list[str]:
    lines = [
        f"{when}. Random calibrated weights, the same for all contestants of a case; fp32 where a "
        "name does not say otherwise, int8 calibrated on the same few images by all; times "
        "are medians in ms of interleaved rounds, one process a contestant, pinned to as many "
        "cores as it has threads. A ratio is the peer's time over ours: the median of the rounds' "
        "ratios, with its quartiles. Peak MB is the most resident memory that the contestant's "
        "process ever had (VmHWM: interpreter, libraries, loading and compiling included), "
        "libraries MB what it had when its libraries were imported and nothing was loaded. "
        "Errors are of the maps against dense fp32 torch, eager, each of the worst map: "
        "largest max|a - b| / max|b|, relative |a - b| / |b| (L2 norms; the one beside the "
        "times), and the cosine. Random weights amplify rounding from block to block, in every "
        "int8 alike; trained ones lose less."
    ]
    kinds = {m.machine.get("int8", "") for c, m in measurements.items() if c.precision == "int8"}
    for kind in sorted(kinds - {VNNI}):
        why = _NOT_VNNI.get(kind, "dense int8 has no VNNI here either")
        lines += ["", f"int8 rows have no floors on this CPU ({kind}): {why}."]
    for text in dict.fromkeys(_machine(m) for m in measurements.values()):
        lines += ["", text]
    return lines


def _machine(measurement: Measurement) -> str:
    machine = measurement.machine
    return (
        f"{machine['cpu']}, {machine['isa']} kernels, {machine['cores']} cores, "
        f"{machine['memory']}, {machine['system']}, Python {machine['python']}."
    )


def _how(measurement: Measurement) -> str:
    passes = "1 pass" if measurement.passes == 1 else f"{measurement.passes} passes"
    busy = [f"{_label(n)} {share:.0%}" for n, share in measurement.idle.items() if share > 0.02]
    text = f"{measurement.rounds} rounds of {passes}, {measurement.date}."
    if busy:
        text += f" Busy while it was not their turn: {', '.join(busy)}."
    if measurement.background > 0.1:
        text += f" Other processes kept {measurement.background:.1f} cores busy meanwhile."
    return text


def _contestant(measurement: Measurement, name: str) -> list[str]:
    label, version = _label(name), measurement.versions[name]
    if name in measurement.failures:
        return [label, version.partition(":")[0], measurement.failures[name], *7 * [""]]
    samples = measurement.timings
    memory = measurement.memory[name]
    low, high = _quartiles(measurement.samples[name])
    ours, errors = measurement.configuration.ours, measurement.errors[name]
    ratio = samples.ratio(name, ours) if ours in measurement.samples else None
    cells = [
        label,
        version,
        f"{samples.median(name):.1f}",
        f"{low:.1f} to {high:.1f}",
        "" if ratio is None or name == ours else str(ratio),
        f"{memory['peak_mb']:.0f}",
        f"{memory['imported_mb']:.0f}",
        f"{errors.largest:.1e}",
        f"{errors.relative:.1e}",
        f"{errors.cosine:.6f}",
    ]
    return [f"**{cell}**" if cell and CONTESTANTS[name].ours else cell for cell in cells]


def _cells(result: Result) -> list[str]:
    row, peer = result.row, result.peer
    against = row.against_text
    if peer is not None and len(row.against) > 1:
        against += f": {_label(peer)}"
    return [
        str(row.configuration),
        against,
        _number(result.peer_ms, ".1f"),
        _relative(result.peer_errors),
        _number(result.ours_ms, ".1f"),
        _relative(result.ours_errors),
        "" if result.ratio is None else str(result.ratio),
        _number(row.floor, "g"),
        _number(row.goal, "g"),
        result.verdict,
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _relative(errors: MapErrors | None) -> str:
    return "" if errors is None else f"{errors.relative:.1e}"


def _label(name: str) -> str:
    return CONTESTANTS[name].label


def _quartiles(samples: Sequence[float]) -> tuple[float, float]:
    if len(samples) == 1:
        return samples[0], samples[0]
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return low, high


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [
        f"| {' | '.join(head)} |",
        f"| {' | '.join('---' for _ in head)} |",
        *(f"| {' | '.join(row)} |" for row in escaped),
    ]
