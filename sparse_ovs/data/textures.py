"""Colours and textures of the procedural scenes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 36, 36),
    "orange": (245, 140, 20),
    "yellow": (240, 220, 40),
    "green": (30, 150, 50),
    "blue": (35, 75, 215),
    "purple": (140, 50, 175),
}
"""Name -> RGB."""

GROUNDS: dict[str, tuple[tuple[int, int, int], int, int]] = {
    "sand": ((216, 198, 158), 32, 32),
    "snow": ((232, 236, 242), 6, 6),
    "asphalt": ((88, 88, 94), 40, 40),
    "water": ((150, 200, 210), 3, 16),
}
"""Name -> RGB, grains of its noise across the width and down the height."""


def plain(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """One colour."""
    return np.zeros(np.broadcast(u, v).shape, bool)


def striped(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Stripes along v, two fifths of them in the second tone."""
    return np.mod(u, period) < 0.4 * period


def checkered(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """A chessboard, whose squares are half a period wide."""
    return (np.mod(u, period) < 0.5 * period) ^ (np.mod(v, period) < 0.5 * period)


def dotted(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Dots on a square grid."""
    a = np.mod(u, period) - 0.5 * period
    b = np.mod(v, period) - 0.5 * period
    return a * a + b * b < (0.3 * period) ** 2


Texture = Callable[[np.ndarray, np.ndarray, float], np.ndarray]

TEXTURES: dict[str, Texture] = {
    "plain": plain,
    "striped": striped,
    "checkered": checkered,
    "dotted": dotted,
}
"""Name -> u, v float32 (any equal shapes, in units of the object's radius), period -> where the
second tone is."""
