"""COCO's run-length codes of binary masks, decoded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def decode_rle(size: Sequence[int], counts: str | bytes | Sequence[int]) -> np.ndarray:
    """A mask, bool (H, W).

    Runs go down the columns, the first is of zeros. In a string, each count is written in groups
    of 5 bits, lowest first, one character (+ 48) a group, bit 0x20 where another follows; from the
    fourth on it is the difference to the count two before.

    Args:
        size: H, W.
        counts: lengths of the runs, as a list or in COCO's string form.

    Raises:
        ValueError: the runs do not fill the mask exactly.
    """
    height, width = size
    runs = _parse(counts) if isinstance(counts, str | bytes) else list(counts)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(
            f"expected runs that fill {height}x{width} pixels, got {sum(runs)} pixels in "
            f"{len(runs)} runs"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _parse(text: str | bytes) -> list[int]:
    codes = text.encode("ascii") if isinstance(text, str) else text
    runs: list[int] = []
    value = shift = 0
    for code in codes:
        code -= 48
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:  # the sign
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
        value = shift = 0
    return runs
