"""MATLAB files: read where scipy is installed, one clear line where not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sparse_ovs.data.mat_files import read_mat


def test_without_scipy_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r"expected scipy, .*sparse_ovs\[data\].*no such package"):
        read_mat(tmp_path / "a.mat", "LabelMap")


def test_a_matrix_is_read_by_its_name(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    labels = np.array([[1, 459], [0, 7], [2, 2]], np.uint16)
    scipy_io.savemat(tmp_path / "a.mat", {"LabelMap": labels, "other": [[1]]})
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", "LabelMap"), labels)


def test_files_without_the_matrix_are_named(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a.mat", {"other": [[1]]})
    (tmp_path / "cut.mat").write_bytes(b"MATLAB 5.0")
    for name in ("a.mat", "cut.mat"):
        with pytest.raises(ValueError, match=rf"expected the matrix LabelMap in .*{name}, got"):
            read_mat(tmp_path / name, "LabelMap")
    with pytest.raises(ValueError, match=r"expected labels at .*gone\.mat, got no such file"):
        read_mat(tmp_path / "gone.mat", "LabelMap")
