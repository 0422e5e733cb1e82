"""sparse-ovs alpha, from the command line to the files."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sparse_ovs.cli.app import app
from sparse_ovs.spectral import load_selection


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def finish(*arguments: object) -> Result:
    result = run("alpha", "RN50", "--size", 64, *arguments)
    assert result.exit_code == 0, result.exception
    return result


@pytest.fixture(scope="module")
def median(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alpha") / "median.json"
    finish("--out", path)
    return path


def test_half_of_rn50_is_frozen_and_random_weights_are_told(tmp_path: Path) -> None:
    result = finish("--out", tmp_path / "s.json", "--plot", tmp_path / "a.png")
    assert "27 of 55 layers frozen" in result.stdout
    assert "RANDOM WEIGHTS" in result.stdout
    assert "layer4.2.conv3" in result.stdout
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    selection = load_selection(tmp_path / "s.json")
    assert len(selection.frozen) == 27
    assert selection.source == "RN50 random weights, MACs at 64x64"


def test_a_control_matches_a_selection_on_disk(median: Path, tmp_path: Path) -> None:
    finish("--select", "random-macs", "--like", median, "--seed", 0, "--out", tmp_path / "r.json")
    control, matched = load_selection(tmp_path / "r.json"), load_selection(median)
    assert control.frozen != matched.frozen
    assert control.frozen_macs == pytest.approx(matched.frozen_macs, abs=0.01)


def test_an_unknown_estimator_is_told_before_a_model_is_made() -> None:
    result = run("alpha", "no-such-model", "--estimator", "hill")
    assert isinstance(result.exception, ValueError)
    assert "expected an estimator of mid" in str(result.exception)


def test_an_unknown_selection_is_told_before_a_model_is_made() -> None:
    result = run("alpha", "no-such-model", "--select", "best")
    assert "expected a selection of median" in str(result.exception)
