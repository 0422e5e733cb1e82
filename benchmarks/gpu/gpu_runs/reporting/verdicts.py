"""One word for a row: is the route right, and is it worth taking?"""

from __future__ import annotations

from typing import Any

WRONG, FAILED, FASTER, SLOWER, EVEN = "wrong", "failed", "faster", "slower", "even"


def verdict(row: dict[str, Any]) -> str:
    """Of a row of kind `layer`: by its error first, then by the quartiles of dense / ours."""
    if row["ours_ms"] is None:
        return FAILED
    if not row["right"]:
        return WRONG
    if row["speedup"] is None:
        return FAILED
    _, low, high = row["speedup"]
    if low > 1:
        return FASTER
    return SLOWER if high < 1 else EVEN


def way(row: dict[str, Any]) -> str:
    """Route and variant: `bsr 64x64`, `sp24_residue 64x32`, `csr_direct`."""
    route, variant = row["route"], row["variant"]
    if route == "sp24_residue":
        return f"{route} {TILES[variant[0]]}"
    return " ".join([route, *(["x".join(map(str, variant))] if variant else [])])


# As in `sparse_ovs.ops.cuda.TILES`: rows x pixels.
TILES = ("128x128", "64x64", "64x32")
