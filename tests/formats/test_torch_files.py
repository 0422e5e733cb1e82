"""Others' torch files: tensors, plain data and numpy's numbers are read, and no code is run."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparse_ovs.formats import bare_keys, load_torch_file

TENSOR = torch.arange(6.0).reshape(2, 3)
BESIDE = {
    "a number": np.float64(0.5),
    "another": np.int32(7),
    "a truth": np.bool_(True),
    "a word": np.str_("epoch"),
    "an array": np.arange(4, dtype=np.int16),
    "objects": np.array([["a"], [None, 3]], dtype=object),
    "a frozen set": frozenset({1}),
}


def _saved(tmp_path: Path, content: Any, zipped: bool = True) -> Path:
    path = tmp_path / "file.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def _rewritten(path: Path, old: bytes, new: bytes) -> Path:
    """The file with other bytes in its pickle."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(old, new) if name.endswith("data.pkl") else part)
    assert any(old in part for part in parts.values())
    return path


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_plain_beside_the_tensors_is_read(tmp_path: Path, kind: str, zipped: bool) -> None:
    content = OrderedDict(model={"weight": TENSOR}, beside=BESIDE[kind])
    found = load_torch_file(_saved(tmp_path, content, zipped))
    assert torch.equal(found["model"]["weight"], TENSOR)
    np.testing.assert_array_equal(found["beside"], BESIDE[kind])
    assert getattr(found["beside"], "dtype", None) == getattr(BESIDE[kind], "dtype", None)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_files_of_older_and_newer_numpy_are_read(tmp_path: Path, module: bytes) -> None:
    path = _saved(tmp_path, {"loss": np.float32(0.25), "order": np.arange(3)})
    own = np.core.multiarray.scalar.__module__ if np.__version__ < "2" else "numpy._core.multiarray"
    found = load_torch_file(_rewritten(path, own.encode(), module))
    assert found["loss"] == 0.25
    assert found["order"].tolist() == [0, 1, 2]


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    "harm",
    [
        Harm(os.mkdir, "made"),
        Harm(eval, "__import__('os').mkdir('made')"),
        Harm(np.load, "made"),
        Harm(getattr, np.ndarray, "tofile"),
        Path("made"),
    ],
    ids=["mkdir", "eval", "numpy", "getattr", "path"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_asks_for_anything_else_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Any, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"model": {"weight": TENSOR}, "loss": np.float64(1), "harm": harm}
    path = _saved(tmp_path, content, zipped)
    with pytest.raises(ValueError, match="expected a torch file of tensors and plain data, got a"):
        load_torch_file(path)
    assert not (tmp_path / "made").exists()


def test_an_array_whose_bytes_would_be_pointers_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path, {"x": np.arange(4, dtype=np.int64)})
    with pytest.raises(ValueError, match="expected a torch file of tensors and plain data"):
        load_torch_file(_rewritten(path, b"X\x02\x00\x00\x00i8", b"X\x02\x00\x00\x00O8"))


def test_what_torch_allows_others_stays_as_it_was(tmp_path: Path) -> None:
    path = _saved(tmp_path, {"loss": np.float64(1)})
    before = set(torch.serialization.get_safe_globals())  # torch lists them in any order
    load_torch_file(path)
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"got a damaged or foreign one: .*file\.pth"):
        load_torch_file(tmp_path / "file.pth")


def test_names_lose_the_prefixes_of_wrappers() -> None:
    state = {"module._orig_mod.a.weight": TENSOR, "_orig_mod.b": TENSOR, "c.module.d": TENSOR}
    assert list(bare_keys(state)) == ["a.weight", "b", "c.module.d"]


def test_a_name_with_and_without_a_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one tensor named a, got another .* module\.a"):
        bare_keys({"a": TENSOR, "module.a": TENSOR})
