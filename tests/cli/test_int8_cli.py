"""int8 from the command line: quantize, segment --precision, compare --precision."""

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
from sparse_ovs._native import bf16_isa
from sparse_ovs.cli.app import app, main
from support.small_clips import DEEP_RN, RN, VIT, register_small_clips, small_backbone


def run(*arguments: object) -> Result:
    register_small_clips()
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.exception
    return result


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of noise."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for number in range(3):
        pixels = noise.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def scales(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scales") / "q.safetensors"
    run("quantize", RN, "--images", images, "--out", path)
    return path


def test_quantize_writes_scales_and_tells_what_each_layer_adds(
    images: Path, tmp_path: Path
) -> None:
    path, record = tmp_path / "q.safetensors", tmp_path / "errors.json"
    options = ("--density", 0.5, "--percentile", 99.99, "--exclude", "layer4.*", "--limit", 2)
    told = run("quantize", RN, "--images", images, "--out", path, "--json", record, *options)
    q = sparse_ovs.load_quantization(path)
    assert q.provenance["images"] == 2
    assert q.provenance["percentile"] == 99.99
    errors = json.loads(record.read_text())
    assert [each["layer"] for each in errors] == list(q.weight_scales)
    assert {each["layer"] for each in errors if each["reason"]} == q.excluded
    worst = sorted((e for e in errors if not e["reason"]), key=lambda e: -e["alone"])
    rows = [line.split()[1] for line in told.stdout.splitlines() if line.startswith("│")]
    assert rows == [each["layer"] for each in worst[:10]]
    assert f"{len(errors) - 4} of {len(errors)} layers compute in int8, 4 stay" in told.stdout
    assert "kept in fp32, as asked for" in told.stdout
    assert "RANDOM WEIGHTS" in told.stdout


def test_a_file_of_quantize_compiles_its_encoder(scales: Path) -> None:
    backbone = sparse_ovs.create_backbone(RN)
    # Scales of weights are those of other random weights; the layers are the same.
    q, x = sparse_ovs.load_quantization(scales), torch.randn(1, 3, 64, 64)
    sparse_ovs.compile(backbone, x, precision="int8", quantization=q)(x)


def test_segment_calibrates_on_a_folder_or_takes_a_file(
    images: Path, scales: Path, tmp_path: Path
) -> None:
    out = tmp_path / "overlay.png"
    asked = ("segment", images / "0.png", "--vocab", "cat; dog", "--backbone", RN, "--out", out)
    for source in (images, scales):
        run(*asked, "--size", 64, "--precision", "int8", "--calibrate", source)
        assert out.is_file()
        out.unlink()


no_bf16 = pytest.mark.skipif(bf16_isa() is None, reason="no bf16 kernel runs on this CPU")


@pytest.mark.parametrize("narrow", ["int8", pytest.param("bf16", marks=no_bf16)])
def test_compare_tells_what_a_precision_changes(narrow: str, images: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    options = ("--model", RN, "--size", 64, "--rounds", 1, "--limit", 2, "--json", record)
    told = run(
        "compare", "dense", "dense", "--precision", "fp32", narrow, "--images", images, *options
    )
    assert f"dense in {narrow}" in told.stdout
    found = json.loads(record.read_text())
    assert [found[each]["precision"] for each in "AB"] == ["fp32", narrow]
    assert all(0.9 < cosine < 1 - 1e-6 for cosine in found["similarity"]["maps"])
    assert found["A"]["macs"] == found["B"]["macs"]


def test_compare_calibrates_on_other_images_where_asked(images: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(other / "grey.png")
    cosines = []
    for folder in (images, other):
        record = tmp_path / "record.json"
        options = ("--size", 64, "--rounds", 1, "--calibrate", folder, "--json", record)
        asked = ("compare", "dense", "dense", "--model", RN, "--images", images)
        run(*asked, "--precision", "fp32", "int8", *options)
        cosines.append(json.loads(record.read_text())["similarity"]["maps"][0])
    assert cosines[1] < cosines[0]  # scales of one grey image serve noise badly


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantize", RN, "--images", "nowhere"], "expected a folder of images, got nowhere"),
        (["quantize", RN, "--images", "EMPTY"], "expected images in "),
        (["quantize", RN, "--images", "IMAGES", "--percentile", "5"], "expected a percentile ab"),
        (
            ["quantize", RN, "--images", "IMAGES", "--exclude", "layer9.*"],
            "expected layers to exclude, got 'layer9.*', which fits none",
        ),
        (
            ["quantize", RN, "--images", "IMAGES", "--pretrained", "BROKEN"],
            "expected finite numbers, got NaN or Inf in the maps of layer2.0.conv2",
        ),
        (
            ["segment", "PHOTO", "--vocab", "cat", "--backbone", RN, "--precision", "int8"],
            "expected calibrate with precision='int8'",
        ),
        (
            ["segment", "PHOTO", "--vocab", "cat", "--backbone", RN, "--calibrate", "IMAGES"],
            "expected precision='int8' with calibrate, got 'fp32'",
        ),
        (
            [
                *("segment", "PHOTO", "--vocab", "cat", "--backbone", DEEP_RN),
                *("--precision", "int8", "--calibrate", "SCALES"),
            ],
            "expected a quantization of this model, got one without layer3.1.conv1",
        ),
        (
            [
                *("segment", "PHOTO", "--vocab", "cat", "--backbone", RN),
                *("--precision", "int8", "--calibrate", "PHOTO"),
            ],
            "expected a whole safetensors file",
        ),
        (
            ["compare", "dense", "dense", "--images", "IMAGES", "--precision", "fp32", "int4"],
            "expected a precision of fp32, bf16, int8, got 'int4'",
        ),
        (
            ["compare", "dense", "dense", "--images", "IMAGES", "--calibrate", "IMAGES"],
            "expected --calibrate with --precision int8, got it without",
        ),
        (
            [
                *("compare", "dense", "dense", "--images", "IMAGES", "--model", VIT),
                *("--precision", "fp32", "int8"),
            ],
            "expected an embedding that follows from maps for int8, got small-vit",
        ),
    ],
)
def test_bad_input_is_one_line_on_stderr(
    arguments: list[str],
    message: str,
    images: Path,
    scales: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register_small_clips()
    places = {"IMAGES": images, "PHOTO": images / "0.png", "SCALES": scales, "EMPTY": tmp_path}
    if "BROKEN" in arguments:
        backbone = small_backbone(RN)
        backbone.get_submodule("layer2.0.conv2").weight.data[0] = float("nan")
        places["BROKEN"] = tmp_path / "broken.safetensors"
        sparse_ovs.save(backbone, places["BROKEN"])
    monkeypatch.chdir(tmp_path)
    given = [str(places.get(argument, argument)) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["sparse-ovs", *given])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {message}")
