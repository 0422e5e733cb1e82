"""What a plan runs, step by step, as rows of an aligned table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparse_ovs._native import StepInfo

_HEAD = ("step", "op", "output", "density", "layout", "tile", "backend", "strips", "ms", "reason")
_RIGHT = ("density", "ms")  # columns of numbers


@dataclass(frozen=True)
class StepRow:
    """One step.

    Attributes:
        name: of its layer.
        op: what it computes, fused parts included.
        shape: of its output; () where that is no tensor.
        backend: what computes it: "sparse rows1", "dense", "torch", ...
        seconds: that it takes; None where they were not measured. Those of a copy are in the step
            that it serves. Where threads run different strips at once, their mean.
        density: of its weights; None without any.
        layout: of its output.
        tile: output pixels of a tile (rows x columns), channels and kind of its panel.
        group: steps with the same number run together, strip of rows by strip; None runs alone.
        reason: why torch runs it, or why it runs in fp32 inside an int8 or bf16 encoder; else "".
    """

    name: str
    op: str
    shape: tuple[int, ...]
    backend: str
    seconds: float | None = None
    density: float | None = None
    layout: str = ""
    tile: str = ""
    group: int | None = None
    reason: str = ""


def native_rows(
    infos: Sequence[StepInfo],
    records: Sequence[dict[str, Any]],
    seconds: Sequence[float | None],
    threads: int,
    first_group: int = 0,
    notes: Sequence[str] | None = None,
) -> list[StepRow]:
    """Rows of a native plan.

    Args:
        infos: of the plan.
        records: of the steps that were added (see records.record_of).
        seconds: of the same steps, those of all threads summed where they run strips.
        threads: that the plan was made for.
        first_group: number of the plan's first group of strips.
        notes: of the same steps; what Node.note says.
    """
    rows = []
    for info in infos:
        record = records[info.record]
        copied = info.backend == "copy"
        spent = seconds[info.record]
        if spent is not None and info.strip_group is not None:
            spent /= threads
        rows.append(
            StepRow(
                record["name"],
                "copy" if copied else _op(record),
                info.shape,
                info.backend,
                None if copied else spent,
                info.density if "weight" in record and not copied else None,
                _layout(info),
                _tile(info),
                None if info.strip_group is None else first_group + info.strip_group,
                "" if notes is None or copied else notes[info.record],
            )
        )
    return rows


def as_table(rows: Sequence[StepRow]) -> str:
    """The rows under a head, in aligned columns; times and their sum where they were measured, and
    reasons where there are any."""
    cells = [_HEAD, *map(_cells, rows)]
    if any(row.seconds is not None for row in rows):
        total = sum(row.seconds or 0.0 for row in rows)
        cells.append(("total", *[""] * 7, _ms(total), ""))
    else:
        cells = [(*line[:-2], line[-1]) for line in cells]
    if not any(row.reason for row in rows):
        cells = [line[:-1] for line in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if head in _RIGHT else cell.ljust(width)
            for head, cell, width in zip(cells[0], line, widths, strict=True)
        ).rstrip()
        for line in cells
    )


def _cells(row: StepRow) -> tuple[str, ...]:
    return (
        row.name,
        row.op,
        "x".join(map(str, row.shape)),
        "" if row.density is None else f"{row.density:.3f}",
        row.layout,
        row.tile,
        row.backend,
        "" if row.group is None else str(row.group),
        "" if row.seconds is None else _ms(row.seconds),
        row.reason,
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}"


def _op(record: dict[str, Any]) -> str:
    if record["op"] == "avg_pool2x2":
        return "mean 2x2"
    if record["op"] == "atrous_pool2x2":
        return f"mean 2x2 / 1x1 dilation {record['dilation']}"
    if record["op"] != "conv2d":
        return str(record["op"])
    words = ["conv " + "x".join(map(str, record["weight"]["shape"][2:]))]
    if record["stride"] != [1, 1]:
        words.append("/ " + "x".join(map(str, record["stride"])))
    if record["dilation"] != [1, 1]:
        words.append("dilation " + "x".join(map(str, record["dilation"])))
    if record["groups"] != 1:
        words.append(f"{record['groups']} groups")
    if len(record["inputs"]) > 1:
        words.append("+ residual")
    if record["activation"] is not None:
        words.append(f"+ {record['activation']}")
    return " ".join(words)


def _layout(info: StepInfo) -> str:
    _, _, height, width = info.shape
    if info.tile == height * width:
        return "NCHW"
    return "NHWC" if info.tile == 1 else f"tiles of {info.tile}"


def _tile(info: StepInfo) -> str:
    if not info.tile_cols:
        return ""
    parts = f", {info.row_parts} parts" if info.row_parts > 1 else ""
    return f"{info.tile_rows}x{info.tile_cols}, K {info.k_tile}, {info.panel}{parts}"
