"""MATLAB files: a matrix by its name, or one clear line."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from sparse_ovs.data.mat_files import read_mat


def test_a_matrix_is_read_by_its_name(tmp_path: Path) -> None:
    labels = np.array([[1, 459], [0, 7], [2, 2]], np.uint16)
    savemat(tmp_path / "a.mat", {"LabelMap": labels, "other": [[1]]})
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", "LabelMap"), labels)


def test_files_without_the_matrix_are_named(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"other": [[1]]})
    (tmp_path / "cut.mat").write_bytes(b"MATLAB 5.0")
    for name in ("a.mat", "cut.mat"):
        with pytest.raises(ValueError, match=rf"expected the matrix LabelMap in .*{name}, got"):
            read_mat(tmp_path / name, "LabelMap")
    with pytest.raises(ValueError, match=r"expected labels at .*gone\.mat, got no such file"):
        read_mat(tmp_path / "gone.mat", "LabelMap")
