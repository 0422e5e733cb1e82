"""The cache of a configuration's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peer_runs import artifacts
from peer_runs.artifacts import Artifacts, folder_of, prepare
from peer_runs.cases import TABLE, Configuration

CONFIGURATION = TABLE[0].configuration


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether a graph was asked for, each time that files are made."""
    calls: list[bool] = []

    def make(
        configuration: Configuration,
        files: Artifacts,
        with_onnx: bool,
        on_step: Callable[[str], None],
    ) -> None:
        calls.append(with_onnx)
        files.weights.write_text("weights")
        if len(calls) > 5:
            raise KeyboardInterrupt
        if with_onnx:
            files.onnx.write_text("graph")

    monkeypatch.setattr(artifacts, "_make", make)
    return calls


def test_files_are_made_once_and_again_where_a_graph_is_missing(
    tmp_path: Path, made: list[bool]
) -> None:
    for with_onnx in (False, False, True, True, False):
        files = prepare(CONFIGURATION, tmp_path, with_onnx)
        assert files.weights.read_text() == "weights"
    assert made == [False, True]
    assert files.onnx.read_text() == "graph"
    assert files.folder == folder_of(CONFIGURATION, tmp_path)


def test_an_interrupted_making_leaves_nothing(tmp_path: Path, made: list[bool]) -> None:
    made.extend([True] * 5)
    with pytest.raises(KeyboardInterrupt):
        prepare(CONFIGURATION, tmp_path, True)
    assert list(tmp_path.iterdir()) == []
