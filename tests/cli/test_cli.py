"""The command: what it prints, and one line where something is wrong."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sparse_ovs.cli.app import app, main
from sparse_ovs.cli.options import parse_size
from sparse_ovs.cli.profile import parse_density

RECORD_KEYS = {
    "model",
    "pattern",
    "density",
    "profile",
    "mode",
    "size",
    "batch",
    "threads",
    "isa",
    "cpu",
    "torch",
    "dense_ms",
    "sparse_ms",
    "speedup",
    "macs_dense",
    "macs_sparse",
    "params_dense",
    "params_kept",
    "bytes_dense",
    "bytes_sparse",
    "max_rel_err",
    "precision",
    "fp32_ms",
    "rel_err",
    "cosine",
    "int8_dense",
    "layers",
}


@pytest.mark.parametrize(
    ("text", "size"), [("640", (640, 640)), ("800x1216", (800, 1216)), ("32X64", (32, 64))]
)
def test_a_size_is_one_number_or_height_x_width(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "640x", "x640", "1x2x3", "six", "640.0"])
def test_any_other_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a size such as 640 or 800x1216 .* got "):
        parse_size(text)


def test_a_density_is_a_number_or_weights() -> None:
    assert parse_density("0.1") == 0.1
    assert parse_density("weights") == "weights"
    with pytest.raises(ValueError, match="expected a density or 'weights', got 'much'"):
        parse_density("much")


def test_info_says_versions_isa_threads_and_which_kernels_there_are() -> None:
    shown = CliRunner().invoke(app, ["info"])
    assert shown.exit_code == 0
    for word in (
        "sparse_ovs",
        "ISA",
        "threads",
        "torch",
        "CUDA",
        "Triton",
        "CPU kernels",
        "available",
    ):
        assert word in shown.output


def test_help_teaches_each_command_with_an_example() -> None:
    runner = CliRunner()
    assert "sparse-ovs profile RN50" in runner.invoke(app, ["--help"]).output.replace("\n", " ")
    shown = runner.invoke(app, ["profile", "--help"], env={"COLUMNS": "200"}).output
    for option in ("--density", "--pattern", "--size", "--batch", "--threads", "--mode"):
        assert option in shown
    for option in ("--pretrained", "--profile", "--json", "--html"):
        assert option in shown
    assert "sparse-ovs profile RN50 --density 0.1 --size 640 --threads 1" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RN50", "--density", "0"], "expected a density with 0 < density <= 1, got 0.0"),
        (["RN50", "--density", "-1"], "expected a density with 0 < density <= 1, got -1.0"),
        (["RN50", "--density", "1.5"], "expected a density with 0 < density <= 1, got 1.5"),
        (["RN50", "--pattern", "dense"], "expected pattern 'unstructured'"),
        (["RN50", "--size", "big"], "expected a size such as 640 or 800x1216"),
        (["RN50", "--mode", "fast"], "expected mode 'plan' or 'modules', got 'fast'"),
        (["RN50", "--threads", "0"], "expected at least 1 thread, got 0"),
        (["RN50", "--batch", "0"], "expected a batch of at least 1, got 0"),
        (["RN50", "--rounds", "0"], "expected at least 1 round, got 0"),
        (["RN51"], "expected the name of an open_clip model, got 'RN51'"),
        (["RN50", "--pretrained", "./no.pt"], "expected a file of weights, got none at ./no.pt"),
        (["RN50", "--profile", "no.json"], "expected profile 'uniform', 'trained' or a JSON file"),
        (
            ["RN50", "--profile", "trained", "--density", "0.15"],
            "expected one of the profile's densities",
        ),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_code_1(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["sparse-ovs", "profile", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 1
    assert shown.out == ""
    errors = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in shown.err


def test_an_unknown_option_does_not_show_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sparse-ovs", "profile", "--nope"])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert "No such option" in shown.err
    assert "Traceback" not in shown.err


def test_a_profile_writes_the_documented_record_and_a_page(tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    arguments = ["profile", "RN50", "--size", "96", "--threads", "1", "--rounds", "1"]
    outputs = ["--baseline", "eager", "--json", "-", "--html", str(html)]
    shown = CliRunner().invoke(app, [*arguments, *outputs])
    assert shown.exit_code == 0, shown.output
    record = json.loads(shown.stdout)
    assert set(record) == RECORD_KEYS
    assert set(record["dense_ms"]) == {"eager", "channels_last", "compiled", "frozen"}
    assert record["dense_ms"]["frozen"] is None
    assert record["size"] == [96, 96]
    assert record["max_rel_err"] <= 1e-4
    assert record["params_dense"] == 23_527_264
    assert len(record["layers"]) == 55
    assert record["bytes_sparse"] < 0.17 * record["bytes_dense"]
    assert "<title>sparse_ovs: RN50</title>" in html.read_text()
