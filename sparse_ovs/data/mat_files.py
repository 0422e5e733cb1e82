"""Reads arrays of MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_mat(path: Path, variable: str) -> np.ndarray:
    """A matrix (H, W) of a `.mat` file.

    Raises:
        ValueError: no such file, a damaged one, or no such matrix in it.
    """
    from scipy.io import loadmat  # seldom needed, and slow to import

    if not path.is_file():
        raise ValueError(f"expected labels at {path}, got no such file")
    try:
        matrix = loadmat(path, variable_names=[variable])[variable]
    except Exception as error:  # scipy raises nearly anything at a damaged file
        raise ValueError(f"expected the matrix {variable} in {path}, got {error!r}") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2:
        raise ValueError(f"expected the matrix {variable} in {path}, got {type(matrix).__name__}")
    return matrix
