"""Writes matplotlib's figures: the same figure as the same bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Writes a figure in the format of the suffix; an SVG without the date and random names that
    would make each one another."""
    import matplotlib

    about = {"Date": None} if Path(path).suffix == ".svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "sparse_ovs"}):
        figure.savefig(path, dpi=110, metadata=about)
