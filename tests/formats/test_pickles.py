"""Pickles of plain data are read, all others refused by the name of what they want."""

import os
import pickle
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse_ovs.formats.pickles import load_plain_pickle

PLAIN = {
    "numbers": [1, 2.5, -(2**70), 3 + 4j, True, None],
    "texts": ("a", "ü", b"\x00\xff", bytearray(b"abc")),
    "sets": {frozenset({1}), frozenset()},
    "ordered": OrderedDict([("z", 1), ("a", 2)]),
}
ARRAYS = {
    "float": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">u4"),
    "bool": np.array([True, False]),
    "text": np.array(["wall", "building, edifice"]),
    "objects": np.array([["a"], [None, 3]], dtype=object),
    "empty": np.zeros((0, 4), np.uint8),
}


def stored(tmp_path: Path, content: Any, protocol: int = 4) -> Path:
    (tmp_path / "file.pkl").write_bytes(pickle.dumps(content, protocol))
    return tmp_path / "file.pkl"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_types_are_read(protocol: int, tmp_path: Path) -> None:
    assert load_plain_pickle(stored(tmp_path, PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_are_read(kind: str, protocol: int, tmp_path: Path) -> None:
    path = stored(tmp_path, ARRAYS[kind], protocol)
    found = load_plain_pickle(path)
    assert found.dtype == pickle.loads(path.read_bytes()).dtype
    np.testing.assert_array_equal(found, ARRAYS[kind])


@pytest.mark.parametrize("protocol", [2, 4])
def test_numpy_numbers_are_read(protocol: int, tmp_path: Path) -> None:
    assert load_plain_pickle(stored(tmp_path, [np.int64(7), np.float32(0.5)], protocol)) == [7, 0.5]


def test_files_of_older_numpy_are_read(tmp_path: Path) -> None:
    path = stored(tmp_path, np.arange(3), protocol=2)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert load_plain_pickle(path).tolist() == [0, 1, 2]


class Call:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (Call(os.mkdir, "made"), "posix.mkdir"),
        (Call(eval, "1"), "builtins.eval"),
        (Call(getattr, "", "join"), "builtins.getattr"),
        (Counter("aab"), "collections.Counter"),
        (Path("x"), "pathlib.PosixPath"),
        (np.random.default_rng(0), "numpy.random"),
    ],
    ids=["system", "eval", "getattr", "counter", "path", "generator"],
)
def test_everything_else_is_refused_by_its_name(
    content: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"expected a pickle of plain data, .*{name}"):
        load_plain_pickle(stored(tmp_path, [content]))
    assert not (tmp_path / "made").exists()


def test_arrays_whose_bytes_would_be_pointers_are_refused(tmp_path: Path) -> None:
    text = pickle.dumps(np.arange(4, dtype=np.int64), protocol=2)
    path = tmp_path / "file.pkl"
    path.write_bytes(text.replace(b"X\x02\x00\x00\x00i8", b"X\x02\x00\x00\x00O8"))
    assert path.read_bytes() != text
    with pytest.raises(ValueError, match="expected a pickle of plain data"):
        load_plain_pickle(path)


def test_arrays_of_records_are_refused(tmp_path: Path) -> None:
    records = np.zeros(2, dtype=[("a", "i4"), ("b", "f4")])
    with pytest.raises(ValueError, match="arrays of records are not plain data"):
        load_plain_pickle(stored(tmp_path, records))


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1] * 99)[:30]])
def test_damaged_files_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a pickle of plain data, got .*file\.pkl"):
        load_plain_pickle(tmp_path / "file.pkl")
    with pytest.raises(ValueError, match=r"expected a pickle at .*gone, got no such file"):
        load_plain_pickle(tmp_path / "gone")
