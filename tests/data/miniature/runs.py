"""Writes COCO's run-length codes: what the decoder is tested against."""

from __future__ import annotations

from itertools import groupby

import numpy as np


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs down the columns of a mask (H, W), the first of zeros."""
    values = [bool(v) for v in mask.T.ravel()]
    runs = [len(list(group)) for _, group in groupby(values)]
    return [0, *runs] if values and values[0] else runs


def encode(mask: np.ndarray) -> str:
    """The string form."""
    runs = run_lengths(mask)
    text = ""
    for k, run in enumerate(runs):
        value = run - runs[k - 2] if k > 2 else run
        more = True
        while more:
            group = value & 0x1F
            value >>= 5  # keeps the sign
            more = value != (-1 if group & 0x10 else 0)
            text += chr((group | (0x20 if more else 0)) + 48)
    return text
