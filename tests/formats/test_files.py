"""Files: atomic, versioned, and clear about what is wrong with them."""

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sparse_ovs.formats import (
    FileFormatError,
    ForeignFileError,
    format_version,
    read_file,
    write_file,
)


def test_tensors_and_header_come_back_as_they_were(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 2), "b": torch.tensor([1, 65535], dtype=torch.uint16)}
    write_file(tmp_path / "file", tensors, {"model": "RN50", "layers": {"x": [1, 2]}})
    read, header = read_file(tmp_path / "file")
    assert {name: t.dtype for name, t in read.items()} == {n: t.dtype for n, t in tensors.items()}
    assert torch.equal(read["a"], tensors["a"])
    assert read["b"].tolist() == [1, 65535]
    assert header == {
        "format_version": format_version(None),
        "model": "RN50",
        "layers": {"x": [1, 2]},
    }


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_file(path, {"a": torch.zeros(1)}, {})
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_file(path, {"a": torch.ones(1)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    write_file(tmp_path / "ours", {"a": torch.zeros(1)}, {})
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a file, got none at .*nowhere"):
        read_file(tmp_path / "nowhere")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, {"a": torch.randn(100)}, {})
    content = path.read_bytes()
    for length in (0, 4, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match="expected a whole safetensors file, got "):
            read_file(path)


def test_a_file_with_a_damaged_begin_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, {"a": torch.randn(100)}, {})
    content = path.read_bytes()
    for place in (0, 8, 12, 20):  # of the header's length, or of the header
        path.write_bytes(content[:place] + b"\xff\xff\xff" + content[place + 3 :])
        with pytest.raises(FileFormatError, match="expected a whole safetensors file, got "):
            read_file(path)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    torch.save({"a": torch.randn(3)}, path)
    with pytest.raises(FileFormatError, match="expected a whole safetensors file, got "):
        read_file(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a file, got none at "):
        read_file(tmp_path)


def test_a_write_into_a_missing_folder_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "nowhere" / "file", {"a": torch.zeros(1)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_file(path, {"a": torch.zeros(1)}, {})
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_file(path, {"a": torch.ones(1)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_safetensors_file_of_others_is_foreign(tmp_path: Path) -> None:
    path = tmp_path / "file"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"format": "pt"})
    with pytest.raises(
        ForeignFileError, match="expected a file written by sparse_ovs, got another"
    ):
        read_file(path)


def test_a_newer_file_asks_for_an_update(tmp_path: Path) -> None:
    path = tmp_path / "file"
    _write_header(path, json.dumps({"format_version": format_version(None) + 1}))
    with pytest.raises(
        FileFormatError, match=r"expected format version 1 or older, got 2 .* update"
    ):
        read_file(path)


@pytest.mark.parametrize(
    "header", ["{", "[]", "{}", '{"format_version": "1"}', '{"format_version": 0}']
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "file"
    _write_header(path, header)
    with pytest.raises(FileFormatError, match=r"expected a (readable header|format version), got "):
        read_file(path)


def _write_header(path: Path, header: str) -> None:
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"sparse_ovs": header})
