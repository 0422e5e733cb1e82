"""Reads arrays of MATLAB files, with scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_mat(path: Path, variable: str) -> np.ndarray:
    """A matrix (H, W) of a `.mat` file.

    Raises:
        ImportError: scipy is not installed.
        ValueError: no such file, a damaged one, or no such matrix in it.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(
            "expected scipy, which reads .mat files (pip install sparse_ovs[data]), "
            "got no such package"
        ) from error
    if not path.is_file():
        raise ValueError(f"expected labels at {path}, got no such file")
    try:
        matrix = loadmat(path, variable_names=[variable])[variable]
    except Exception as error:  # scipy raises nearly anything at a damaged file
        raise ValueError(f"expected the matrix {variable} in {path}, got {error!r}") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2:
        raise ValueError(f"expected the matrix {variable} in {path}, got {type(matrix).__name__}")
    return matrix
