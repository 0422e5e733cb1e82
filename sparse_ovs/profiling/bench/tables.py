"""A benchmark as rich tables, one for each pattern and arithmetic."""

from __future__ import annotations

from rich.table import Table

from sparse_ovs.profiling.bench.record import Bench, Row


def bench_tables(bench: Bench) -> list[Table]:
    """Layers and encoder, in the order in which they were run."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in bench.rows:
        groups.setdefault((row.pattern, row.arithmetic), []).append(row)
    return [_table(bench, *key, rows) for key, rows in groups.items()]


def _table(bench: Bench, pattern: str, arithmetic: str, rows: list[Row]) -> Table:
    height, width = bench.size
    machine = ", ".join(f"{name} {text}" for name, text in bench.machine.items())
    table = Table(
        title=f"{bench.model} {height}x{width}, batch {bench.batch}, {pattern}, {arithmetic}",
        caption=f"{machine}; medians of {bench.rounds} rounds",
        title_justify="left",
    )
    dense = list(dict.fromkeys(name for row in rows for name in row.dense_ms))
    for column in ("layer", "weight", "density", *dense, "ours", "speed-up", "backend", "error"):
        table.add_column(column, justify="left" if column in ("layer", "backend") else "right")
    for row in rows:
        table.add_row(
            row.subject,
            "x".join(map(str, row.shape)),
            f"{row.density:.3g}",
            *(_ms(row.dense_ms.get(name)) for name in dense),
            _ms(row.sparse_ms),
            "" if row.speedup is None else "{:.2f}x ({:.2f} to {:.2f})".format(*row.speedup),
            row.backend,
            "" if row.max_rel_err is None else f"{row.max_rel_err:.1e}",
        )
        for name, problem in row.problems.items():
            table.add_row(f"  {name}: {problem}", style="red")
    return table


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
