"""What a results file is drawn as: verdicts, bounds of the documentation, rules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gpu.encoder_layers import LAYERS
from gpu_runs.plan import PATTERNS, WAYS
from gpu_runs.reporting.bounds import dense_floor_us, documented_us
from gpu_runs.reporting.rules import rules
from gpu_runs.reporting.tables import markdown
from gpu_runs.reporting.verdicts import TILES, verdict, way
from sparse_ovs.ops.cuda import TILES as SHIPPED
from support.fake_gpu_runs import layer_row, record_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "faster"),
        ({"speedup": [0.5, 0.4, 0.6]}, "slower"),
        ({"speedup": [1.02, 0.98, 1.1]}, "even"),
        ({"right": False}, "wrong"),
        ({"right": None, "error": None}, "wrong"),
        ({"ours_ms": None, "speedup": None, "right": None}, "failed"),
        ({"speedup": None}, "failed"),
    ],
)
def test_a_route_is_judged_by_its_error_first_and_then_by_its_quartiles(
    changes: dict[str, Any], expected: str
) -> None:
    assert verdict(layer_row(**changes)) == expected


def test_tiles_are_called_as_they_are_shipped() -> None:
    assert tuple(f"{tile.rows}x{tile.pixels}" for tile in SHIPPED) == TILES
    assert way(layer_row(route="sp24_residue", variant=[2])) == "sp24_residue 64x32"


def test_every_way_has_its_documented_bound_on_the_documented_layers() -> None:
    for layer, pattern, arch in product(LAYERS, PATTERNS, (80, 90)):
        for route, variant in WAYS[pattern]:
            row = layer_row(
                shape=list(layer.shape), size=layer.size, route=route, variant=list(variant)
            )
            assert documented_us(row, arch) is not None


def test_bounds_are_those_of_the_documentation() -> None:
    table = (ROOT / "docs" / "gpu.md").read_text().split("| H100 (sm_90), us |")[1]
    line = re.search(r"\| bsr_conv2d 64x64-float16 \|.*", table)
    assert line is not None
    printed = line.group().split("|")[4].strip()  # layer3 conv2
    found = documented_us(layer_row(), 90)
    assert found is not None
    assert f"{found:.1f}" == printed
    assert documented_us(layer_row(batch=8), 90) is None
    assert documented_us(layer_row(size=41), 90) is None


def test_the_floor_of_a_dense_layer_is_the_slower_of_products_and_bytes() -> None:
    flops = 2 * 256 * 256 * 9 * 1600
    row = layer_row()
    assert dense_floor_us(row, {"fp16": flops * 1e3, "DRAM": 1e20}) == pytest.approx(1e3)
    moved = (2 * 256 * 1600 + 256 * 256 * 9) * 2
    assert dense_floor_us(row, {"fp16": 1e30, "DRAM": moved * 1e3}) == pytest.approx(1e3)
    assert dense_floor_us(row, {}) is None


def test_the_report_holds_a_time_beside_its_bound() -> None:
    text = markdown(record_of(layer_row()))
    (line,) = [line for line in text.splitlines() if line.startswith("| layer3.1.conv2 |")]
    cells = [cell.strip() for cell in line.split("|")]
    assert "bsr 64x64" in cells
    assert "2.00 (1.90 to 2.10)" in cells
    bound = documented_us(layer_row(), 90)
    assert bound is not None
    assert f"{3.0 / bound:.1f}" in cells
    assert "faster" in cells


def test_rules_follow_the_figures() -> None:
    slow = {"speedup": [0.5, 0.4, 0.6], "ours_ms": 0.012}
    single = {"route": "csr_direct", "variant": [], "pattern": "unstructured"}
    rows = [
        layer_row(),
        layer_row(variant=[32, 32], **slow),
        layer_row(**single, **slow),
        layer_row(layer="layer4.1.conv2", **single),
        layer_row(route="sp24_residue", variant=[1], pattern="2:4", **slow),
        layer_row(route="sp24_residue", variant=[1], pattern="unstructured", right=False),
    ]
    found = "\n".join(rules(rows))
    assert "bsr (block64x64, float16, 3x3, batch 1): take it: faster on all 1 layers" in found
    assert "csr_direct (unstructured, float16, 3x3, batch 1): by the clock: faster on 1" in found
    assert "1.00 times as fast as dense on average: layer4.1.conv2 (csr_direct)" in found
    assert "sp24_residue (2:4, float16, 3x3, batch 1): stay dense: faster on none" in found
    assert "sp24_residue (unstructured, float16, 3x3, batch 1): not to be taken: wrong" in found
    assert "Of several ways (block64x64, float16) the fastest is bsr 64x64 on 1 of 1." in found


def test_rows_of_every_kind_are_drawn() -> None:
    check = {"kind": "check", "family": "bsr_linear", "case": "odd", "error": 1, "allowed": 0.1}
    model = {"kind": "model", "model": "RN50", "size": 640, "batch": 1, "arithmetic": "float16"}
    spec = {"route": "csr_direct", "variant": [], "layer": "l", "batch": 1, "pattern": "2:4"}
    record = record_of(
        {"kind": "machine", "device": "H200", "compute capability": "9.0"},
        {"kind": "ceiling", "what": "DRAM", "per_second": 4.3e12},
        {**check, "right": False},
        {**model, "pattern": "dense", "contestant": "dense graph", "ms": 2.0},
        {**model, "pattern": "block64x64", "contestant": "ours graph", "ms": 1.0, "right": True},
        {"kind": "tests", "slice": "trunk", "passed": 2, "failed": 1, "failures": {"a": "b"}},
        {"kind": "counters", **spec, "figures": {"Registers": "72"}, "advice": ["wait less"]},
        {
            "kind": "sanitizer",
            "tool": "memcheck",
            "exit": 0,
            "families_run": 5,
            "summary": ["ERROR SUMMARY: 0 errors"],
        },
        {"kind": "problem", "of": "ncu", "text": "not on the PATH"},
        {"kind": "launch", "kernel": "forward_kernel"},
    )
    text = markdown(record)
    for part in (
        "device H200",
        "DRAM 4.30 TB/s",
        "0 of 1 right",
        "| ours graph | 1.000 | 2.00 |",
        "- a: b",
        "- Registers: 72",
        "- *wait less*",
        "ERROR SUMMARY: 0 errors",
        "- ncu: not on the PATH",
    ):
        assert part in text


def test_a_report_is_drawn_from_the_shell_and_another_file_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps(record_of(layer_row())))
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu" / "report.py"), str(results)]
    made = subprocess.run(command, capture_output=True, text=True)
    assert "# sparse_ovs on a GPU" in made.stdout
    results.write_text("{}")
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 2
    assert "expected results of a run in" in made.stderr
