"""sparse-ovs eval on miniature roots, with a tiny CLIP of random weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from data.miniature import folder, voc
from sparse_ovs.cli import segmenters
from sparse_ovs.cli.app import app
from sparse_ovs.data import open_dataset
from sparse_ovs.evaluation import unfinished
from sparse_ovs.segmenter import Segmenter
from support.small_clips import RN, register_small_clips
from support.small_labels import Answering


def run(root: Path, *arguments: object, dataset: str = "folder") -> Result:
    register_small_clips()
    given = ["eval", "--data", root, "--dataset", dataset, "--backbone", RN, *arguments]
    return CliRunner().invoke(app, [str(each) for each in given])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder.narrow(tmp_path, "folder")
    return tmp_path


def test_scores_come_with_their_protocol_and_random_weights_are_told(root: Path) -> None:
    shown = run(root, "--json", root / "scores.json")
    assert shown.exit_code == 0, shown.exception
    for words in ("folder, val: 2 of 2 images", "as detectron2: the mean over classes", RN):
        assert words in shown.output
    assert "RANDOM WEIGHTS (image encoder" in shown.output
    record = json.loads((root / "scores.json").read_text())
    assert record["protocol"]["segmenter"]["head"] == "maskclip"
    assert record["protocol"]["segmenter"]["size"] == 512
    assert "text tower" in record["protocol"]["random_weights"]
    percent = f"{100 * record['scores']['miou']:.2f} %"
    assert f"{percent} over {record['scores']['counted']} of 3 classes" in shown.output


def test_the_record_alone_goes_to_stdout(root: Path) -> None:
    shown = run(root, "--json", "-", "--variant", "mmseg", "--size", 64, "--density", 0.5)
    record = json.loads(shown.stdout)
    assert record["scores"]["variant"] == "mmseg"
    assert record["protocol"]["segmenter"]["size"] == 64
    assert record["protocol"]["segmenter"]["density"] == pytest.approx(0.5, abs=0.01)


def test_the_order_of_masks_is_one_of_those_there_are(root: Path) -> None:
    record = json.loads(run(root, "--mask-order", "cheap", "--json", "-").stdout)
    assert record["protocol"]["segmenter"]["mask_order"] == "cheap"
    refused = run(root, "--mask-order", "quick")
    assert str(refused.exception) == (
        "expected a mask_order of original, image, cheap, got 'quick'"
    )


def test_the_names_that_were_trained_on_split_the_mean(root: Path) -> None:
    (root / "seen.txt").write_text("kind 0\n\nclass 2\n")
    shown = run(root, "--seen", root / "seen.txt", "--limit", 1)
    assert "1 of 2 images" in shown.output
    assert "mIoU of seen classes" in shown.output
    assert "mIoU of unseen classes" in shown.output


def test_counts_of_a_killed_run_are_taken_up_and_then_removed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "_SECONDS", 0.0)
    whole = json.loads(run(root, "--json", "-").stdout)
    with monkeypatch.context() as patch:
        patch.setattr(unfinished.Unfinished, "remove", lambda self: None)
        run(root, "--unfinished", root / "counts")
    assert (root / "counts.0of1").is_file()
    monkeypatch.setattr(Segmenter, "predict_labels", None)  # no image is left to do
    shown = run(root, "--unfinished", root / "counts", "--json", "-")
    assert json.loads(shown.stdout) == whole
    assert not (root / "counts.0of1").exists()


def test_voc20b_says_what_its_background_is(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc20b")
    shown = run(tmp_path, dataset="voc20b")
    assert "asked for as 39 other names, each of which means 'background'" in shown.output


def test_right_answers_score_a_hundred_percent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [sample.labels for sample in open_dataset("folder", root)]
    right = Answering(lambda _: labels.pop(0))
    monkeypatch.setattr(segmenters, "create_segmenter", lambda *_, **__: right)
    shown = run(root)
    assert "100.00 %" in shown.output
    assert "RANDOM" not in shown.output
    assert right.asked is not None
    assert right.asked.classes[1] == ("class 1", "kind 1")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The segmenters that the command makes."""
    kept: list[Any] = []

    def create(*arguments: Any, **options: Any) -> Any:
        kept.append(original(*arguments, **options))
        return kept[-1]

    original = segmenters.create_segmenter
    monkeypatch.setattr(segmenters, "create_segmenter", create)
    return kept


def test_scores_are_those_of_the_segmenter_s_own_labels(root: Path, made: list[Any]) -> None:
    record = json.loads(run(root, "--json", "-").stdout)
    right = total = 0
    for sample in open_dataset("folder", root):
        labels = made[0].predict_labels(sample.image).numpy()
        right += int(np.sum(labels == sample.labels))
        total += int(np.sum(sample.labels >= 0))
    assert record["scores"]["pacc"] == pytest.approx(right / total)


def test_random_weights_are_the_same_every_time(root: Path, made: list[Any]) -> None:
    """And so in each of several processes."""
    run(root)
    run(root)
    first, second = (segmenter.state_dict() for segmenter in made)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_two_processes_print_the_record_of_one(root: Path) -> None:
    pytest.importorskip("accelerate")
    module = ["-m", "sparse_ovs.cli"]
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *module]
    records = []
    for launcher in (module, two):
        arguments = ["eval", "--data", root, "--dataset", "folder", "--templates", "bare"]
        done = subprocess.run(
            [sys.executable, *launcher, *map(str, arguments), "--size", "64", "--json", "-"],
            capture_output=True,
            text=True,
            check=True,
        )
        records.append(json.loads(done.stdout))
    assert records[0]["scores"] == records[1]["scores"]
    assert [record["protocol"]["processes"] for record in records] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "smp"], "expected variant detectron2 or mmseg, got 'smp'"),
        (["--head", "none"], "expected a head of maskclip"),
        (["--limit", 0], "expected a limit of at least 1 image, got 0"),
        (["--seen", "no.txt"], "expected a file of names, got no.txt"),
        (["--split", "test"], "expected split train or val, got 'test'"),
        (["--checkpoint", "no.safetensors"], "no.safetensors"),
    ],
)
def test_bad_input_is_told(root: Path, arguments: list[object], message: str) -> None:
    shown = run(root, *arguments)
    assert shown.exit_code == 1
    assert isinstance(shown.exception, (ValueError, OSError))
    assert message in str(shown.exception)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    shown = run(tmp_path / "nowhere", dataset="ade150")
    assert "expected a folder of datasets, got" in str(shown.exception)


def test_an_empty_file_of_names_is_told(root: Path) -> None:
    (root / "seen.txt").write_text("\n")
    assert "expected names, one class a line, got none" in str(
        run(root, "--seen", root / "seen.txt").exception
    )
