"""Colours for classes, the same each time."""

from __future__ import annotations

import colorsys

import numpy as np

# Neighbours in the list are far apart on the colour wheel.
_GOLDEN = 0.618033988749895
_SHADES = ((0.75, 0.95), (0.55, 0.7), (0.9, 0.6), (0.4, 0.95))  # saturation, value


def colours(count: int) -> np.ndarray:
    """(count, 3) uint8."""
    made = []
    for index in range(count):
        saturation, value = _SHADES[index // 7 % len(_SHADES)]
        made.append(colorsys.hsv_to_rgb(0.58 + index * _GOLDEN, saturation, value))
    return np.rint(np.array(made).reshape(-1, 3) * 255).astype(np.uint8)
