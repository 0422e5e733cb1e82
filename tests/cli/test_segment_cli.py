"""sparse-ovs segment, and profile --head."""

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
from sparse_ovs.cli.segment import parse_background
from sparse_ovs.data.sample_photos import sample_files
from sparse_ovs.segmenter import Options, Segmenter
from support.small_clips import DEEP_RN, RN, small_backbone
from support.small_masks import ToldMasks

PHOTO = str(sample_files()[0])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_an_image_is_segmented_by_words(photo: Path, tmp_path: Path) -> None:
    small_backbone()
    out, labels = tmp_path / "overlay.png", tmp_path / "labels.png"
    options = ["--vocab", "cat, kitten; dog", "--backbone", RN, "--size", "64", "--density", "0.5"]
    outputs = ["--out", str(out), "--labels", str(labels)]
    shown = CliRunner().invoke(app, ["segment", str(photo), *options, *outputs])
    assert shown.exit_code == 0, shown.output
    assert "RANDOM WEIGHTS (image encoder, image projection, text tower)" in shown.output
    assert Image.open(out).size[0] >= 90
    assert Image.open(labels).size == (90, 60)
    assert set(np.unique(np.asarray(Image.open(labels)))) <= {0, 1}


def test_a_checkpoint_is_taken_and_segments_come_as_json(photo: Path, tmp_path: Path) -> None:
    backbone = small_backbone()
    backbone.clip.random_parts = ()
    made = sparse_ovs.create_segmenter("maskclip", backbone, size=64)
    made.save_pretrained(tmp_path / "mine")
    options = ["--vocab", "cat, kitten; dog", "--checkpoint", str(tmp_path / "mine")]
    outputs = ["--out", str(tmp_path / "overlay.png"), "--json", "-"]
    shown = CliRunner().invoke(app, ["segment", str(photo), *options, *outputs])
    assert shown.exit_code == 0, shown.output
    assert "RANDOM" not in shown.output
    segments = json.loads(shown.stdout)
    expected = made.predict(photo, "cat, kitten; dog").segments
    assert [s["label"] for s in segments] == [s.label for s in expected]
    assert segments[0]["score"] == pytest.approx(expected[0].score, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "background"), [(None, None), ("0.5", 0.5), ("wall, floor", "wall, floor")]
)
def test_a_background_is_a_number_or_names(
    text: str | None, background: str | float | None
) -> None:
    assert parse_background(text) == background


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["segment", "no.png", "--vocab", "cat", "--backbone", RN],
            "an image at no.png, got no su",
        ),
        (["segment", "no.png", "--vocab", "cat;;dog"], "expected a name for class 1, got an empty"),
        (["segment", PHOTO, "--vocab", "cat", "--head", "x"], "expected a head of maskclip"),
        (
            ["segment", PHOTO, "--vocab", "cat", "--checkpoint", "no"],
            "expected a segmenter's file",
        ),
        (
            ["segment", PHOTO, "--vocab", "cat", "--output", "x"],
            "expected an output of semantic, panoptic, instance, got 'x'",
        ),
        (
            ["segment", PHOTO, "--vocab", "cat", "--things", "cat"],
            "expected --things with --output panoptic or instance, got it without",
        ),
        (
            ["segment", PHOTO, "--vocab", "cat", "--output", "instance", "--labels", "a.png"],
            "expected no --labels with --output instance",
        ),
        (
            ["segment", PHOTO, "--vocab", "cat", "--backbone", RN, "--output", "panoptic"],
            "expected a head that predicts masks for panoptic results, got maskclip",
        ),
        (
            ["segment", PHOTO, "--vocab", "cat", "--backbone", RN, "--head-sizes", "huge"],
            "expected sizes of maskclip of paper, got 'huge'",
        ),
        (
            ["profile", "RN50", "--head-sizes", "small"],
            "expected --head-sizes with --head, got it alone",
        ),
        (["profile", "RN50", "--vocab", "cat"], "expected --vocab with --head, got it alone"),
        (["profile", "RN50", "--head", "x"], "expected a head of maskclip"),
        (["profile", "RN50", "--head", "maskclip", "--batch", "2"], "expected batch 1 on the cpu"),
        (["profile", "RN50", "--head", "maskclip", "--html", "a"], "expected no --html with --hea"),
        (["profile", "RN50", "--head", "maskclip", "--rounds", "0"], "expected at least 1 round"),
        (["profile", "RN50", "--head", "maskclip", "--threads", "0"], "at least 1 thread, got 0"),
    ],
)
def test_bad_input_is_one_line_on_stderr(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_backbone()
    monkeypatch.setattr(sys, "argv", ["sparse-ovs", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 1
    (line,) = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("output", "head"), [("panoptic", ["class", "kind"]), ("instance", ["class", "of the image"])]
)
def test_things_are_told_apart_on_request(
    output: str,
    head: list[str],
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = small_backbone()
    backbone.clip.random_parts = ()
    masks = torch.full((2, 4, 6), -9.0)
    masks[0, :, :3] = masks[1, :, 3:] = 9.0
    masked = ToldMasks(backbone, torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1]]), masks)
    made = Segmenter(backbone, masked, Options(size=64))
    monkeypatch.setattr("sparse_ovs.cli.segment.make_segmenter", lambda *given: made)
    out, record = tmp_path / "overlay.png", tmp_path / "found.json"
    options = ["--vocab", "cat, kitten; dog", "--output", output, "--things", "cat; dog"]
    outputs = ["--out", str(out), "--json", str(record)]
    shown = CliRunner().invoke(app, ["segment", str(photo), *options, *outputs])
    assert shown.exit_code == 0, shown.output
    found = json.loads(record.read_text())
    assert [one["label"] for one in found][:2] == ["cat", "dog"]
    (titles,) = [line for line in shown.output.splitlines() if "class" in line]
    assert [cell.strip() for cell in titles.split("┃")][1:3] == head
    assert Image.open(out).size[0] >= 90


def test_a_deeplab_head_is_segmented_with_and_timed_in_small_sizes(
    photo: Path, tmp_path: Path
) -> None:
    small_backbone(DEEP_RN)
    own = ["--head", "deeplabv3plus", "--head-sizes", "small", "--vocab", "cat; dog"]
    out = ["--backbone", DEEP_RN, "--size", "64", "--out", str(tmp_path / "overlay.png")]
    shown = CliRunner().invoke(app, ["segment", str(photo), *own, *out])
    assert shown.exit_code == 0, shown.output
    assert "head" in shown.output
    record = tmp_path / "record.json"
    timed = ["--size", "64", "--threads", "1", "--rounds", "1", "--baseline", "eager"]
    shown = CliRunner().invoke(app, ["profile", DEEP_RN, *own, *timed, "--json", str(record)])
    assert shown.exit_code == 0, shown.output
    assert json.loads(record.read_text())["max_rel_err"] < 1e-3


PROFILE = ["profile", RN, "--head", "maskclip", "--size", "64", "--threads", "1", "--rounds", "2"]
SHORT = ["--baseline", "eager", "--vocab", "cat, kitten; dog"]


def test_profile_splits_a_segmenters_time(tmp_path: Path) -> None:
    small_backbone()
    shown = CliRunner().invoke(app, [*PROFILE, *SHORT, "--json", str(tmp_path / "record.json")])
    assert shown.exit_code == 0, shown.output
    for word in ("preprocess", "encoder", "head", "postprocess", "total", "p50", "p90"):
        assert word in shown.output
    assert "for 42 prompts (2 classes), then cached" in shown.output
    assert "RANDOM WEIGHTS: times are real, masks mean nothing" in shown.output
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["baseline"] == "eager"
    assert record["size"] == [64, 64]
    assert list(record["encoders"]) == ["eager"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


def test_the_demo_needs_no_photo_and_no_words(tmp_path: Path) -> None:
    place = tmp_path / "overlay.png"
    result = run("--demo", "--out", place)
    assert result.exit_code == 0, result.output
    assert place.is_file()
    assert "classes asked for" in result.output
    assert "RANDOM" not in result.output


def test_the_demo_takes_other_words_and_refuses_unknown_ones(tmp_path: Path) -> None:
    place = tmp_path / "overlay.png"
    assert run("--demo", "--vocab", "sunflower; sand", "--out", place).exit_code == 0
    refused = run("--demo", "--vocab", "zebra", "--out", place)
    assert "expected words of a, an, and" in str(refused.exception)


def test_a_photo_or_the_demo_is_asked_for() -> None:
    message = "expected a photo and --vocab, or --demo, got "
    assert f"{message}one of them" in str(run("--vocab", "cat").exception)
    assert f"{message}neither" in str(run().exception)
