"""Which kernels are looked at closely: the best and the worst of each route so far."""

from __future__ import annotations

from typing import Any

# What says which launch it was.
SPEC = ("layer", "batch", "arithmetic", "pattern", "route", "variant")
# Where nothing was timed.
_DEFAULTS = [
    {"pattern": "unstructured", "route": "sp24_residue", "variant": [1]},
    {"pattern": "unstructured", "route": "csr_direct", "variant": []},
    {"pattern": "block64x64", "route": "bsr", "variant": [64, 64]},
]


def best_and_worst(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of rows of kind `layer`: by route, what gained most and what lost most against dense."""
    routes: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["speedup"]:
            routes.setdefault(row["route"], []).append(row)
    found = []
    for timed in routes.values():
        timed.sort(key=lambda row: float(row["speedup"][0]))
        found += [timed[-1], timed[0]] if len(timed) > 1 else timed
    if not found:
        common = {"layer": "layer3.1.conv2", "batch": 1, "arithmetic": "float16"}
        found = [{**common, **default} for default in _DEFAULTS]
    return [{key: row[key] for key in SPEC} for row in found]
