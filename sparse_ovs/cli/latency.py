"""Prints where a segmenter's time goes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.table import Table

from sparse_ovs.cli.console import err, out, wide
from sparse_ovs.predictor.latency import Latency
from sparse_ovs.profiling.tables import BASELINE_WORDS
from sparse_ovs.segmenter.latency import STAGES, HeadProfile


def show_latency(profile: HeadProfile, json_file: str | None) -> None:
    """As a table; or as JSON, on stdout where the file is "-"."""
    record = json.dumps(profile.to_dict(), indent=2)
    if json_file == "-":
        sys.stdout.write(record + "\n")
        return
    console = wide(out)
    console.print(latency_table(profile))
    console.print(
        f"text, once a vocabulary: {_both(profile.text)[0]} ms for {profile.prompts} prompts "
        f"({profile.classes} classes), then cached"
    )
    console.print(f"largest relative error of a score: {profile.max_rel_err:.1e}")
    if profile.weights == "random":
        console.print("RANDOM WEIGHTS: times are real, masks mean nothing", style="yellow")
    if json_file is not None:
        Path(json_file).write_text(record + "\n")
        err.print(f"wrote {json_file}")


def latency_table(profile: HeadProfile) -> Table:
    """Stages by encoder, in milliseconds."""
    height, width = profile.size
    words = BASELINE_WORDS[profile.baseline]
    threads = f"{profile.threads} thread{'s' if profile.threads > 1 else ''}"
    table = Table(
        title=f"{profile.head} on {profile.model} {height}x{width}, {profile.classes} classes, "
        f"{profile.pattern}, density {profile.density}: {profile.sparse['total'].p50:.1f} ms "
        f"against {profile.dense['total'].p50:.1f} ms an image with {words}, {profile.speedup}",
        caption=f"{profile.cpu}, {profile.isa} kernels, {threads}, torch {profile.torch}, "
        f"{profile.weights} weights, fp32, {profile.rounds} rounds",
        title_justify="left",
    )
    table.add_column("ms")
    for name in ("dense p50", "p90", "sparse p50", "p90"):
        table.add_column(name, justify="right")
    for stage in (*STAGES, "total"):
        row = (*_both(profile.dense[stage]), *_both(profile.sparse[stage]))
        table.add_row(stage, *row, style="bold" if stage == "total" else "")
    return table


def _both(latency: Latency) -> tuple[str, str]:
    return f"{latency.p50:.1f}", f"{latency.p90:.1f}"
