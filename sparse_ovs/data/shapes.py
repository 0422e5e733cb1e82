"""Shapes of the procedural scenes: which points of a plane they cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STAR_POINTS = 5
_STAR_INNER = np.float32(0.42)
_SQRT3 = np.float32(np.sqrt(3))


def circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A disc."""
    return u * u + v * v < 0.81


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A square."""
    return np.maximum(np.abs(u), np.abs(v)) < 0.76


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """An equilateral triangle, one corner up (v points down)."""
    return (v < 0.5) & (_SQRT3 * np.abs(u) - v < 1)


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A star of five points with straight edges, its inner corners at 0.42 of the outer."""
    turn = 2 * np.pi / _STAR_POINTS
    angle = np.arctan2(u, -v)
    # 0 at a point, half a turn between two; each edge is the line from one to the other.
    angle = np.abs(angle - np.round(angle * np.float32(1 / turn)) * np.float32(turn))
    edge = np.sin(angle) + _STAR_INNER * np.sin(np.float32(turn / 2) - angle)
    return np.sqrt(u * u + v * v) * edge < _STAR_INNER * np.float32(np.sin(turn / 2))


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A plus sign."""
    a, b = np.abs(u), np.abs(v)
    return (np.minimum(a, b) < 0.3) & (np.maximum(a, b) < 0.9)


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A disc with a hole."""
    distance = u * u + v * v
    return (distance < 0.9) & (distance > 0.25)


Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]

SHAPES: dict[str, Shape] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "cross": cross,
    "ring": ring,
}
"""Name -> u, v float32 of any equal shapes, in units of the object's radius -> bool."""
