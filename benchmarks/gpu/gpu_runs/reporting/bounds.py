"""The bounds that docs/gpu.md prints, from the budgets, and those of measured ceilings."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from gpu.encoder_layers import LAYERS, Layer
from gpu_runs.reporting.verdicts import way

_BUDGETS = Path(__file__).parents[4] / "tests" / "gpu" / "budgets.json"
_KERNELS = {"bsr": "bsr_conv2d", "sp24_residue": "sp24_residue", "csr_direct": "csr_direct"}


@cache
def _budgets() -> dict[str, Any]:
    return dict(json.loads(_BUDGETS.read_text()))


def layer_of(row: dict[str, Any]) -> Layer:
    """The layer that a row is of."""
    out_channels, channels, kernel, _ = row["shape"]
    return Layer(row["layer"], channels, out_channels, row["size"], kernel, row["count"])


def documented_us(row: dict[str, Any], arch: int) -> float | None:
    """No launch of the row's kernel is faster, in microseconds; None where nobody counted."""
    if row["batch"] != 1:
        return None
    same = [
        known.name
        for known in LAYERS
        if (list(known.shape), known.size) == (row["shape"], row["size"])
    ]
    if not same:
        return None
    route, _, variant = way(row).partition(" ")
    kind = row["arithmetic"]
    name = {
        "bsr": f"{variant}-{kind}",
        "sp24_residue": f"{kind} {variant}",
        "csr_direct": kind,
    }[route]
    entry = _budgets().get(f"bound {_KERNELS[route]} {name} {same[0]} sm_{arch}")
    return None if entry is None else float(entry["figures"]["no_faster_than_us"])


def dense_floor_us(row: dict[str, Any], ceilings: dict[str, float]) -> float | None:
    """What the dense layer takes at the rates that this GPU reached, in microseconds."""
    rate = {"float16": "fp16", "bfloat16": "fp16", "tf32": "tf32", "float32": "fp32"}
    products, moved = ceilings.get(rate[row["arithmetic"]]), ceilings.get("DRAM")
    if not products or not moved:
        return None
    layer, itemsize = layer_of(row), 2 if row["arithmetic"] in ("float16", "bfloat16") else 4
    seconds = max(
        layer.flops(row["batch"]) / products, layer.bytes_moved(itemsize, row["batch"]) / moved
    )
    return 1e6 * seconds
