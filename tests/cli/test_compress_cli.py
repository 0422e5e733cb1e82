"""sparse-ovs compress: photos in, a folder of files out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

import sparse_ovs
from sparse_ovs.cli.app import app, main
from sparse_ovs.pruning.masks import load as load_masks
from support.small_clips import RN, register_small_clips


def run(*arguments: object) -> Result:
    register_small_clips()
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.exception
    return result


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0)
    for number in range(4):
        pixels = noise.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((80, 60)).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def test_a_folder_of_photos_becomes_an_encoder(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    options = ("--density", 0.5, "--precision", "int8", "--baseline", "eager")
    told = run("compress", RN, "--images", photos, "--out", folder, "--vocab", "cat; dog", *options)
    report = json.loads((folder / "report.json").read_text())
    assert report["density"] == pytest.approx(0.5, abs=0.01)
    assert report["images"] == 3
    (skipped,) = report["skipped"]
    assert "broken.jpg" in skipped
    assert "1 files left out" in told.stdout
    assert "RANDOM WEIGHTS" in told.stdout
    backbone = sparse_ovs.load(folder / "weights.safetensors")
    x = torch.randn(1, 3, 64, 64)
    q = sparse_ovs.load_quantization(folder / "quantization.safetensors")
    fast = sparse_ovs.compile(backbone.eval(), x, precision="int8", quantization=q)
    maps = sparse_ovs.load_plan(folder / "encoder.plan")(x)
    for ours, theirs in zip(maps, fast(x), strict=True):
        assert torch.allclose(ours, theirs, atol=0.05)
    assert load_masks(folder / "masks.safetensors").density == pytest.approx(0.5, abs=0.01)


def test_repair_may_learn_under_int8s_rounding(photos: Path, tmp_path: Path) -> None:
    options = (
        "--density",
        0.5,
        "--precision",
        "int8",
        "--method",
        "magnitude",
        "--baseline",
        "eager",
    )
    repair = ("--minutes", 0.01, "--qat")
    run("compress", RN, "--images", photos, "--out", tmp_path, *options, *repair)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["qat"]
    assert report["repaired"]["after"] <= report["repaired"]["before"]
    assert (tmp_path / "quantization.safetensors").is_file()


@pytest.mark.slow
def test_a_sweep_has_a_folder_for_each_speed_up(photos: Path, tmp_path: Path) -> None:
    options = ("--sweep", "1.1,1.2", "--baseline", "eager", "--method", "magnitude", "--size", 48)
    run("compress", RN, "--images", photos, "--out", tmp_path, *options)
    reports = json.loads((tmp_path / "report.json").read_text())
    assert [each["settings"]["target_speedup"] for each in reports] == [1.1, 1.2]
    assert reports[0]["input_shape"] == [1, 3, 48, 48]
    assert (tmp_path / "1.1x" / "masks.safetensors").is_file()
    assert "1.2x" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of --density, --budget-macs, --target-speedup, got none of them"),
        (["--density", "0.5", "--budget-macs", "0.5"], "got --density and --budget-macs"),
        (["--sweep", "2,x"], "expected speed-ups such as 2,3,4,6, got '2,x'"),
        (["--sweep", "2", "--density", "0.5"], "expected --sweep alone"),
        (["--density", "0.5", "--images", "EMPTY"], "expected images in "),
        (["--density", "0.5", "--images", "BROKEN"], "expected images that can be read in "),
        (["--density", "0.5", "--images", "nowhere"], "expected a folder of images, got nowhere"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    arguments: list[str],
    message: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register_small_clips()
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "one.png").write_bytes(b"no image")
    places = {"EMPTY": str(tmp_path / "empty"), "BROKEN": str(tmp_path / "broken")}
    given = [places.get(each, each) for each in arguments]
    if "--images" not in given:
        given += ["--images", str(photos)]
    command = ["sparse-ovs", "compress", RN, "--out", str(tmp_path / "out"), *given]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err
