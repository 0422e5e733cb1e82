"""A results file as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpu_runs.reporting.bounds import dense_floor_us, documented_us
from gpu_runs.reporting.rules import rules
from gpu_runs.reporting.verdicts import verdict, way
from gpu_runs.results import rows_of

Row = dict[str, Any]
_DEFAULT_ARCH = 90


def markdown(record: Row) -> str:
    """The whole report."""
    parts: list[Iterable[str]] = [
        _head(record),
        _steps(record),
        _checks(_kind(record, "check")),
        _layers(record),
        _rules(record),
        _models(_kind(record, "model")),
        _tests(_kind(record, "tests")),
        _counters(_kind(record, "counters")),
        _sanitizer(_kind(record, "sanitizer")),
        _problems(_kind(record, "problem")),
    ]
    texts = ["\n".join(part) for part in parts]
    return "\n\n".join(text for text in texts if text) + "\n"


def _head(record: Row) -> Iterator[str]:
    yield "# sparse_ovs on a GPU"
    yield ""
    if record.get("rehearsal"):
        yield "**A rehearsal: there was no GPU, and no time here is one of a GPU.**"
        yield ""
    if not record.get("finished"):
        yield "The run was cut off: what follows is what it had found."
        yield ""
    machine = dict(record.get("machine", {}))
    for row in _kind(record, "machine"):
        machine |= {name: text for name, text in row.items() if name != "kind"}
    yield f"Began {record.get('began', '?')}, {record['minutes']:g} minutes."
    yield ""
    yield "; ".join(f"{name} {text}" for name, text in machine.items())
    ceilings = _ceilings(record)
    if ceilings:
        yield ""
        yield "Reached with nothing of ours: " + ", ".join(
            f"{name} {_rate(name, value)}" for name, value in ceilings.items()
        )


def _rate(name: str, value: float) -> str:
    return f"{value / 1e12:.2f} {'TB/s' if name == 'DRAM' else 'TFLOP/s'}"


def _steps(record: Row) -> Iterator[str]:
    yield "## Steps"
    yield ""
    planned = {entry["step"]: entry["estimate_s"] for entry in record["plan"]}
    lines = []
    for step in record["steps"]:
        states = [item["status"] for item in step["items"].values()]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        seconds = f"{step['seconds']:.0f} s" if "seconds" in step else ""
        estimate = f"{planned[step['step']]:.0f} s"
        lines.append([step["step"], step["status"], counts, seconds, estimate])
    yield from _table(["step", "status", "items", "took", "estimate"], lines)
    for step in record["steps"]:
        if step.get("reason"):
            yield f"- {step['step']}: {step['reason']}"
        for name, item in step["items"].items():
            if item.get("reason") and item["status"] == "failed":
                yield f"- {step['step']}, {name}: {_short(item['reason'])}"


def _checks(rows: list[Row]) -> Iterator[str]:
    if not rows:
        return
    wrong = sum(not row["right"] for row in rows)
    yield f"## Right or wrong: {len(rows) - wrong} of {len(rows)} right"
    yield ""
    yield from _table(
        ["family", "case", "largest error", "allowed", "verdict"],
        [
            [
                row["family"],
                row["case"],
                _error(row["error"]),
                _error(row["allowed"]),
                "right" if row["right"] else "**wrong**",
            ]
            for row in rows
        ],
    )


def _layers(record: Row) -> Iterator[str]:
    rows, ceilings = _kind(record, "layer"), _ceilings(record)
    arch = _arch(record)
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["arithmetic"], row["batch"], row["pattern"]), []).append(row)
    for (arithmetic, batch, pattern), group in groups.items():
        yield f"## Layers: {arithmetic}, batch {batch}, {pattern}"
        yield ""
        yield from _table(
            [
                "layer",
                "weight",
                "dense, us",
                "by",
                "its floor, us",
                "way",
                "ours, us",
                "dense / ours",
                f"bound sm_{arch}, us",
                "ours / bound",
                "error",
                "verdict",
            ],
            [_layer_line(row, ceilings, arch) for row in group],
        )
        for row in group:
            for name, problem in row["problems"].items():
                yield f"- {row['layer']}, {way(row)}, {name}: {_short(problem)}"
        yield ""


def _layer_line(row: Row, ceilings: dict[str, float], arch: int) -> list[str]:
    bound, ours = documented_us(row, arch), row["ours_ms"]
    dense = row["dense_ms"].get(row["best"]) if row["best"] else None
    speedup = row["speedup"]
    return [
        row["layer"],
        "x".join(map(str, row["shape"])),
        _us(dense),
        row["best"] or "",
        _number(dense_floor_us(row, ceilings)),
        way(row),
        _us(ours),
        "" if speedup is None else "{:.2f} ({:.2f} to {:.2f})".format(*speedup),
        _number(bound),
        "" if bound is None or ours is None else f"{1e3 * ours / bound:.1f}",
        _error(row["error"]),
        verdict(row),
    ]


def _rules(record: Row) -> Iterator[str]:
    found = list(rules(_kind(record, "layer")))
    if found:
        yield "## Rules that these figures suggest"
        yield ""
        yield from (f"- {text}" for text in found)


def _models(rows: list[Row]) -> Iterator[str]:
    if not rows:
        return
    yield "## Encoders"
    yield ""
    dense = {
        _setting(row): min(r["ms"] for r in rows if _setting(r) == _setting(row) and _is_dense(r))
        for row in rows
        if any(_is_dense(r) and _setting(r) == _setting(row) for r in rows)
    }
    lines = []
    for row in rows:
        best = dense.get(_setting(row))
        right = row.get("right")
        lines.append(
            [
                f"{row['model']}, {row['size']}, batch {row['batch']}, {row['arithmetic']}",
                row["pattern"],
                row["contestant"],
                f"{row['ms']:.3f}",
                "" if best is None else f"{best / row['ms']:.2f}",
                _error(row.get("error")),
                "" if right is None else "right" if right else "**wrong**",
            ]
        )
    head = ["encoder", "masks", "contestant", "ms", "best dense / this", "error", "verdict"]
    yield from _table(head, lines)


def _setting(row: Row) -> tuple[Any, ...]:
    return row["model"], row["size"], row["batch"], row["arithmetic"]


def _is_dense(row: Row) -> bool:
    return bool(row["contestant"].startswith("dense"))


def _tests(rows: list[Row]) -> Iterator[str]:
    if not rows:
        return
    yield "## Tests"
    yield ""
    keys = ("passed", "failed", "skipped", "exit")
    lines = [[row["slice"], *(str(row.get(key, "")) for key in keys)] for row in rows]
    yield from _table(["slice", *keys], lines)
    for row in rows:
        for name, text in row.get("failures", {}).items():
            yield f"- {name}: {_short(text)}"


def _counters(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        yield f"## Counters: {way(row)}, {row['layer']}, batch {row['batch']}, {row['pattern']}"
        yield ""
        yield from (f"- {name}: {text}" for name, text in row["figures"].items())
        yield from (f"- *{_short(text)}*" for text in row["advice"])
        yield ""


def _sanitizer(rows: list[Row]) -> Iterator[str]:
    if not rows:
        return
    yield "## Sanitizer"
    yield ""
    for row in rows:
        summary = "; ".join(row["summary"]) or "no summary"
        yield f"- {row['tool']}: exit {row['exit']}, {row['families_run']} families ran: {summary}"


def _problems(rows: list[Row]) -> Iterator[str]:
    if rows:
        yield "## What could not run"
        yield ""
        yield from (f"- {row['of']}: {_short(row['text'])}" for row in rows)


def _kind(record: Row, kind: str) -> list[Row]:
    return rows_of(record, lambda row: row["kind"] == kind)


def _ceilings(record: Row) -> dict[str, float]:
    return {row["what"]: row["per_second"] for row in _kind(record, "ceiling")}


def _arch(record: Row) -> int:
    """Whose bounds are beside the times: A100's for compute capability 8, H100's else."""
    told = [row.get("compute capability") for row in _kind(record, "machine")]
    return 80 if told and str(told[0]).startswith("8.") else _DEFAULT_ARCH


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def _us(milliseconds: float | None) -> str:
    return _number(None if milliseconds is None else 1e3 * milliseconds)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _short(text: str) -> str:
    first = " ".join(text.split())
    return first if len(first) <= 300 else f"{first[:300]}..."
