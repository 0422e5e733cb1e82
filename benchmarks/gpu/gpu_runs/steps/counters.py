"""`ncu` on the best and the worst kernel of each route; the GPU's clocks are left as they are."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from gpu_runs.place import Place
from gpu_runs.results import read, rows_of
from gpu_runs.steps.one_launch import launch
from gpu_runs.steps.picked import best_and_worst

_SECTIONS = (
    "LaunchStats",
    "Occupancy",
    "SpeedOfLight",
    "ComputeWorkloadAnalysis",
    "MemoryWorkloadAnalysis",
    "SchedulerStats",
    "WarpStateStats",
)
_KERNELS = "regex:forward_kernel|sp24_residue|csr_direct"


def run(item: str, place: Place) -> Iterator[dict[str, Any]]:
    """A row of kind `counters` for each kernel."""
    rows = rows_of(read(place.results), lambda row: row["kind"] == "layer")
    specs = best_and_worst(rows)
    if place.rehearsing:
        for spec in specs:
            launch(spec, place.device)
        return
    tool = shutil.which("ncu")
    if tool is None:
        yield {"kind": "problem", "of": "ncu", "text": "not on the PATH"}
        return
    command = [tool, "--clock-control", "none", "--profile-from-start", "off", "--csv"]
    command += ["--page", "details", "--kernel-name", _KERNELS]
    command += [part for section in _SECTIONS for part in ("--section", section)]
    command += [sys.executable, "-m", "gpu_runs.steps.one_launch", json.dumps(specs)]
    made = subprocess.run(command, capture_output=True, text=True)
    kernels = read_details(made.stdout)
    for spec, figures in zip(specs, kernels, strict=False):
        yield {"kind": "counters", **spec, **figures}
    if made.returncode or len(kernels) != len(specs):
        tail = f"{made.stdout[-1000:]}\n{made.stderr[-1000:]}"
        text = f"exit {made.returncode}, {len(kernels)} of {len(specs)} kernels: {tail}"
        yield {"kind": "problem", "of": "ncu", "text": text}


def read_details(text: str) -> list[dict[str, Any]]:
    """By launch, in order: `kernel`, `figures` by name with units, and `advice` of its rules."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    launches: dict[str, dict[str, Any]] = {}
    for row in csv.DictReader(lines[start:]):
        made = launches.setdefault(
            row["ID"], {"kernel": row.get("Kernel Name"), "figures": {}, "advice": []}
        )
        if row.get("Metric Name"):
            value = f"{row.get('Metric Value')} {row.get('Metric Unit') or ''}".strip()
            made["figures"][row["Metric Name"]] = value
        if row.get("Rule Description"):
            made["advice"].append(row["Rule Description"][:400])
    return list(launches.values())
