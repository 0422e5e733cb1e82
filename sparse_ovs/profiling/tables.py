"""A profile as rich tables: end to end, by stage, and by layer."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from sparse_ovs.profiling.record import Profile, stage_rows
from sparse_ovs.profiling.runtimes import HOW_TO_GET, INT8_DENSE, installed

BASELINE_WORDS = {
    "eager": "torch eager",
    "channels_last": "torch eager, channels_last",
    "compiled": "torch.compile, channels_last",
    "frozen": "torch.compile, freezing",
}


def headline(profile: Profile) -> str:
    """One line: what ran where, how fast, against what."""
    height, width = profile.size
    return (
        f"{profile.model} {height}x{width}, batch {profile.batch}, {profile.pattern}, "
        f"density {profile.density}{_precision(profile)}: {profile.sparse_ms:.1f} ms against "
        f"{profile.dense_ms[profile.extras.best]:.1f} ms of "
        f"{BASELINE_WORDS[profile.extras.best]}, {profile.extras.ratio}"
    )


def machine_line(profile: Profile) -> str:
    """One line: CPU, ISA, threads, torch, weights."""
    threads = f"{profile.threads} thread{'s' if profile.threads > 1 else ''}"
    if profile.isa == "CUDA":
        threads = "eager launches"
    return (
        f"{profile.cpu}, {profile.isa} kernels, {threads}, torch {profile.torch}, "
        f"{profile.extras.weights} weights, {profile.precision}"
    )


def error_line(profile: Profile) -> str:
    """One line: how far our maps are from those of dense fp32."""
    if profile.precision == "fp32":
        return f"largest relative error of a map: {profile.max_rel_err:.1e}"
    return f"worst map of {profile.precision} against dense fp32: {profile.errors}"


def int8_dense_line(profile: Profile, asked: bool) -> str:
    """One line: the fastest dense in any precision, or how to have it measured.

    Args:
        asked: for dense int8.
    """
    if not profile.int8_dense:
        here = [INT8_DENSE[name].label for name in installed()]
        if asked or not here:
            return f"dense int8 was not measured: no runtime is installed ({HOW_TO_GET})"
        return f"dense int8 was not measured: --peers measures {' and '.join(here)}"
    timed = [row for row in profile.int8_dense if row.ms is not None]
    best_fp32 = profile.dense_ms[profile.extras.best]
    assert best_fp32 is not None  # the fastest that ran
    best = min(timed, key=lambda row: row.ms or 0.0, default=None)
    if best is None or best.ms is None or best.ms > best_fp32:
        words = BASELINE_WORDS[profile.extras.best]
        return f"best dense in any precision: {words}, fp32, {best_fp32:.1f} ms"
    return (
        f"best dense in any precision: {best.label}, {best.ms:.1f} ms, {best.errors}; "
        f"{profile.ours} is {best.ratio} as fast"
    )


def _precision(profile: Profile) -> str:
    return "" if profile.precision == "fp32" else f", {profile.precision}"


def layer_times_line(profile: Profile) -> str:
    """In words, how times by layer were taken."""
    if profile.precision != "fp32":
        return (
            f"dense: eager modules; sparse: steps of the plan in {profile.precision}, "
            "bytes as packed in fp32"
        )
    if profile.mode == "plan":
        return "dense: eager modules one by one; sparse: steps of the plan"
    return "eager modules one by one"


def profile_tables(profile: Profile, layers: bool = True) -> list[Table]:
    """Tables to print: contestants, stages, and with `layers` every layer."""
    tables = [_contestants(profile), _stages(profile)]
    if layers:
        tables.append(_layers(profile))
    return tables


def _contestants(profile: Profile) -> Table:
    table = Table(title=headline(profile), caption=machine_line(profile), title_justify="left")
    table.add_column("encoder")
    for name in ("ms", "GMAC", "MB", "error"):
        table.add_column(name, justify="right")
    for name, ms in profile.dense_ms.items():
        failure = profile.extras.failures.get(name, "not run")
        shown = f"{ms:.1f}" if ms is not None else Text(failure, style="red")
        style = "bold" if name == profile.extras.best else ""
        work = (f"{profile.macs_dense / 1e9:.2f}", f"{profile.bytes_dense / 1e6:.1f}")
        table.add_row(BASELINE_WORDS[name], shown, *work, style=style)
    for row in profile.int8_dense:
        shown = Text(row.failure, style="red") if row.ms is None else f"{row.ms:.1f}"
        error = "" if row.errors is None else f"{row.errors.relative:.1e}"
        table.add_row(f"{row.label}, dense", shown, f"{profile.macs_dense / 1e9:.2f}", "", error)
    work = (f"{profile.macs_sparse / 1e9:.2f}", f"{profile.bytes_sparse / 1e6:.1f}")
    if profile.fp32_ms is not None:
        table.add_row(f"sparse_ovs, {profile.mode}", f"{profile.fp32_ms:.1f}", *work)
        work = (work[0], "")
    error = f"{profile.rel_err:.1e}"
    table.add_row(profile.ours, f"{profile.sparse_ms:.1f}", *work, error, style="bold green")
    return table


def _stages(profile: Profile) -> Table:
    table = Table(
        title=f"By stage ({layer_times_line(profile)}; GMAC over the batch)", title_justify="left"
    )
    table.add_column("stage")
    for name in ("layers", "density", "GMAC dense", "sparse", "MB dense", "sparse", "ms dense"):
        table.add_column(name, justify="right")
    table.add_column("ms sparse", justify="right")
    for row in stage_rows(profile):
        table.add_row(
            row.stage,
            str(row.layers),
            f"{row.density:.3f}",
            f"{row.macs_dense / 1e9:.3f}",
            f"{row.macs_sparse / 1e9:.3f}",
            f"{row.bytes_dense / 1e6:.2f}",
            f"{row.bytes_sparse / 1e6:.2f}",
            f"{row.ms_dense:.2f}",
            f"{row.ms_sparse:.2f}",
        )
    rest = profile.extras.between
    table.add_row(rest.stage, *[""] * 6, f"{rest.ms_dense:.2f}", f"{rest.ms_sparse:.2f}")
    return table


def _layers(profile: Profile) -> Table:
    table = Table(title="By layer", title_justify="left")
    table.add_column("layer", no_wrap=True)
    columns: tuple[str, ...] = ("ms sparse",)
    if profile.precision != "fp32":
        columns = ("sparse fp32", f"sparse {profile.precision}")
    for name in ("weight", "density", "MMAC dense", "sparse", "kB dense", "sparse", "ms dense"):
        table.add_column(name, justify="right")
    for name in columns:
        table.add_column(name, justify="right")
    table.add_column("backend")
    for row in profile.layers:
        table.add_row(
            row.name,
            "x".join(map(str, row.shape)),
            f"{row.density:.3f}",
            f"{row.macs_dense / 1e6:.1f}",
            f"{row.macs_sparse / 1e6:.1f}",
            f"{row.bytes_dense / 1e3:.1f}",
            f"{row.bytes_sparse / 1e3:.1f}",
            f"{row.ms_dense:.2f}",
            *([] if row.ms_fp32 is None else [f"{row.ms_fp32:.2f}"]),
            f"{row.ms_sparse:.2f}",
            f"{row.backend}: {row.reason}" if row.reason else row.backend,
        )
    return table
