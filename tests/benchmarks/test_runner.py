"""A whole comparison with fake contestants in real processes: measure, report, resume."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import typer
from typer.testing import CliRunner

import peer_runs
import peers
from peer_runs import contestants, environments, runner
from peer_runs.artifacts import Artifacts
from peer_runs.cases import TABLE, Configuration, select
from peer_runs.contestants import CONTESTANTS, Contestant
from peer_runs.environments import Environments
from peer_runs.record import Measurement
from peer_runs.runner import Runner

FAKE = Path(__file__).with_name("fake_contestant.py")
ROW = select(TABLE, "02-*")[0]
NAMES = ["sparse_ovs", "deepsparse"]


@pytest.fixture(autouse=True)
def fake_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, input_file: Path
) -> list[Configuration]:
    """Every contestant is a fake one; returns the configurations that files were made for."""
    made: list[Configuration] = []
    files = Artifacts(tmp_path / "files")
    files.folder.mkdir()
    shutil.copy(input_file, files.input)
    numpy.savez(files.reference, numpy.load(input_file))

    def prepare(
        configuration: Configuration, cache: Path, graph: bool, on_step: Callable[[str], None]
    ) -> Artifacts:
        made.append(configuration)
        return files

    def command(python: str, contestant: Contestant, cores: list[int]) -> list[str]:
        return [sys.executable, str(FAKE), ",".join(map(str, cores))]

    monkeypatch.setattr(runner.artifact_files, "prepare", prepare)
    monkeypatch.setattr(runner, "worker_command", command)
    monkeypatch.setattr(runner, "code_fingerprint", lambda: "code")
    monkeypatch.setattr("peer_runs.measure.sleep", lambda seconds: None)
    monkeypatch.setattr(Environments, "version", lambda self, contestant: "1.0")
    return made


def make(out: Path, rounds: int = 2, fresh: bool = False) -> Runner:
    pythons = {"main": sys.executable, "deepsparse": sys.executable}
    return Runner(out, Environments(pythons), rounds, fresh)


def option(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    changed = dataclasses.replace(CONTESTANTS[name], option=value)
    monkeypatch.setitem(contestants.CONTESTANTS, name, changed)


def test_a_measurement_has_samples_errors_memory_and_is_stored(tmp_path: Path) -> None:
    measurement = make(tmp_path).measure(ROW.configuration, NAMES)
    assert {name: len(s) for name, s in measurement.samples.items()} == dict.fromkeys(NAMES, 2)
    assert {e.largest for e in measurement.errors.values()} == {0.0}
    assert measurement.memory["deepsparse"]["peak_mb"] > 5
    assert measurement.failures == {}
    core = min(os.sched_getaffinity(0))
    assert {facts["cores"] for facts in measurement.facts.values()} == {f"[{core}]"}
    stored = json.loads((tmp_path / "results" / f"{ROW.configuration.name}.json").read_text())
    assert stored["samples"] == measurement.samples


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("fails", "ValueError: no such operation"),
        ("wrong", "wrong: relative error 1.7e-01"),
        ("tires", "RuntimeError: tired"),
        ("dies", "load: ended by SIGKILL: illegal something"),
    ],
)
def test_a_peer_that_fails_is_reported_and_ours_still_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, reason: str
) -> None:
    option(monkeypatch, "deepsparse", what)
    measurement = make(tmp_path).measure(ROW.configuration, NAMES)
    assert measurement.failures == {"deepsparse": reason}
    assert list(measurement.samples) == ["sparse_ovs"]


def test_files_that_cannot_be_made_fail_their_contestant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> Artifacts:
        raise RuntimeError("no exporter\nat all")

    monkeypatch.setattr(runner.artifact_files, "prepare", fail)
    measurement = make(tmp_path).measure(ROW.configuration, NAMES)
    assert measurement.failures == dict.fromkeys(NAMES, "RuntimeError: no exporter")


def test_a_missing_environment_fails_its_contestant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    missing = Environments({"main": sys.executable}, {"deepsparse": "needs a Python 3.11"})
    assert missing.version(CONTESTANTS["deepsparse"]) == "missing: needs a Python 3.11"
    monkeypatch.setattr("peer_runs.measure.sleep", lambda seconds: None)
    measurement = Runner(tmp_path, missing, 1, False).measure(ROW.configuration, ["deepsparse"])
    assert measurement.failures == {"deepsparse": "missing: needs a Python 3.11"}


def test_what_is_finished_is_not_measured_again(tmp_path: Path) -> None:
    assert make(tmp_path).finished(ROW.configuration, NAMES) is None
    first = make(tmp_path).measure(ROW.configuration, NAMES)
    assert make(tmp_path).finished(ROW.configuration, NAMES) == first
    assert make(tmp_path).finished(ROW.configuration, NAMES[:1]) == first
    assert make(tmp_path, fresh=True).finished(ROW.configuration, NAMES) is None
    assert make(tmp_path, rounds=3).finished(ROW.configuration, NAMES) is None
    assert make(tmp_path).finished(ROW.configuration, [*NAMES, "eager"]) is None


def test_other_code_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path).measure(ROW.configuration, NAMES)
    monkeypatch.setattr(runner, "code_fingerprint", lambda: "other code")
    assert make(tmp_path).finished(ROW.configuration, NAMES) is None


def test_dense_weights_are_of_the_same_input_without_a_zero(
    tmp_path: Path, fake_runs: list[Configuration]
) -> None:
    make(tmp_path).measure(ROW.configuration, ["sparse_ovs", "deepsparse_dense"])
    pruned, dense = fake_runs
    assert pruned == ROW.configuration
    assert (dense.density, dense.profile, dense.size) == (1.0, "uniform", pruned.size)


def test_the_command_line_measures_once_and_writes_all_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    measure = Runner.measure

    def count(self: Runner, configuration: Configuration, names: list[str]) -> Measurement:
        counted.append(configuration.name)
        return measure(self, configuration, names)

    monkeypatch.setattr(Runner, "measure", count)
    pythons = {"main": sys.executable, "deepsparse": sys.executable}
    monkeypatch.setattr(environments, "build", lambda *args: Environments(pythons))
    app = typer.Typer()
    app.command()(peers.peers)
    arguments = ["--only", "0[12]-*", "--rounds", "2", "--out", str(tmp_path / "out")]
    for _ in range(2):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert counted == [ROW.configuration.name]  # two rows, two calls, one measurement
    record = json.loads((tmp_path / "out" / "peers.json").read_text())
    assert [row["name"] for row in record["rows"]] == ["01-trained-ort", "02-trained-deepsparse"]
    assert all(row["ratio"] is not None for row in record["rows"])
    assert "## RN50, 640, 1 thread" in (tmp_path / "out" / "peers.md").read_text()
    assert (tmp_path / "out" / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_line_refuses_unknown_names() -> None:
    app = typer.Typer()
    app.command()(peers.peers)
    for arguments in (["--only", "99-*"], ["--peers", "tensorrt"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert "expected" in result.output


def test_workers_are_held_to_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("SPARSE_OVS_NUM_THREADS", "7")
    variables = environments.worker_variables(2, Path("cache"))
    assert variables["OMP_NUM_THREADS"] == variables["MKL_NUM_THREADS"] == "2"
    assert variables["NM_DISABLE_ANALYTICS"] == "1"
    assert not {"OMP_WAIT_POLICY", "SPARSE_OVS_NUM_THREADS"} & variables.keys()
    assert (Path(variables["PYTHONPATH"]) / "peer_runs").samefile(Path(peer_runs.__file__).parent)


def test_more_threads_than_cores_are_refused() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    assert environments.cores_for(1) == allowed[:1]
    with pytest.raises(ValueError, match=f"expected at least 999 cores, got {len(allowed)}"):
        environments.cores_for(999)
