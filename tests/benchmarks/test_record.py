"""Finished measurements: what is stored, and when it still counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peer_runs.record import Measurement, Store, write_atomically


def test_a_stored_measurement_comes_back_whole(tmp_path: Path, measurement: Measurement) -> None:
    store = Store(tmp_path)
    assert store.load(measurement.configuration) is None
    store.save(measurement)
    assert store.load(measurement.configuration) == measurement
    record = json.loads(store.path(measurement.configuration).read_text())
    assert record["median_ms"]["onnxruntime"] == 100.0
    assert record["failures"] == {"openvino": "wrong: relative error 2.0e-01"}


def test_a_file_with_errors_of_another_kind_counts_as_none(
    tmp_path: Path, measurement: Measurement
) -> None:
    store = Store(tmp_path)
    record = measurement.to_dict() | {"errors": {"eager": 1e-6}}
    store.path(measurement.configuration).write_text(json.dumps(record))
    assert store.load(measurement.configuration) is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"configuration": {"size": [1, 2]}}'])
def test_a_damaged_or_older_file_counts_as_none(
    tmp_path: Path, measurement: Measurement, text: str
) -> None:
    store = Store(tmp_path)
    store.path(measurement.configuration).write_text(text)
    assert store.load(measurement.configuration) is None


def answers(measurement: Measurement, **changes: object) -> bool:
    asked = {
        "contestants": ["sparse_ovs", "eager"],
        "rounds": 3,
        "code": "abc",
        "versions": {"sparse_ovs": "1.0", "eager": "1.0"},
        "machine": measurement.machine,
    }
    return measurement.answers(**(asked | changes))  # type: ignore[arg-type]


def test_a_measurement_answers_the_same_or_a_smaller_question(measurement: Measurement) -> None:
    assert answers(measurement)
    assert answers(measurement, rounds=2)


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 4},
        {"code": "abd"},
        {"versions": {"sparse_ovs": "1.0", "eager": "1.1"}},
        {"machine": {"cpu": "another"}},
        {"contestants": ["frozen"], "versions": {"frozen": "1.0"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_measurement_does_not_answer_another_question(
    measurement: Measurement, changes: dict[str, object]
) -> None:
    assert not answers(measurement, **changes)


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "file.json"
    write_atomically(path, "old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]
