"""A throughput benchmark as a rich table."""

from __future__ import annotations

from rich.table import Table

from sparse_ovs.profiling.throughput.record import Throughput


def throughput_table(made: Throughput) -> Table:
    """Contestants, dense torch first."""
    height, width = made.size
    machine = ", ".join(f"{name} {text}" for name, text in made.machine.items())
    streams = f"{made.streams} stream{'s' if made.streams > 1 else ''}"
    table = Table(
        title=f"{made.model} {height}x{width}, batch {made.batch}, {streams} of {made.threads} "
        f"thread{'s' if made.threads > 1 else ''}, {made.pattern}, density {made.density:g}, "
        f"{made.profile}",
        caption=f"{machine}, random weights; {made.rounds} turns of {made.seconds:g} s each, "
        "latency is that of a batch",
        title_justify="left",
    )
    table.add_column("encoder")
    for column in ("images/s", "p50 ms", "p90", "p99", "of the fastest dense fp32"):
        table.add_column(column, justify="right")
    for row in made.rows:
        if row.images_per_second is None or row.latency_ms is None:
            table.add_row(f"{row.name}: {row.problem}", style="red")
            continue
        rate = row.images_per_second
        table.add_row(
            row.name,
            f"{rate.median:.1f} ({rate.low:.1f} to {rate.high:.1f})",
            *(f"{ms:.1f}" for ms in row.latency_ms),
            str(row.against_dense),
        )
    return table
