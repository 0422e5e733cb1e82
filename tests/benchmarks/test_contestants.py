"""Contestants on a small encoder: fp32 is exact, lower precisions are near it and not equal."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

import numpy
import pytest

from peer_runs.artifacts import Artifacts, prepare
from peer_runs.cases import Configuration
from peer_runs.contestants import CONTESTANTS
from peer_runs.workers import quantized as quantizing
from peer_runs.workers.protocol import Job
from peer_runs.workers.quantized import quantized
from sparse_ovs.profiling.errors import map_errors

SMALL = Configuration("scenes-RN50", (64, 96), 1, 1, 0.5, "unstructured", "uniform", "int8")
PACKAGES = {
    "sparse_ovs_int8": (),
    "openvino_int8": ("openvino", "nncf"),
    "openvino_bf16": ("openvino",),
    "onnxruntime_int8": ("onnxruntime", "onnxscript"),
    "torch_int8": ("torchao",),
}


def job_of(files: Artifacts, option: str) -> Job:
    paths = (files.weights, files.onnx, files.input, files.calibration)
    return Job("scenes-RN50", *map(str, paths), 1, option)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    pytest.importorskip("onnxscript")
    return prepare(SMALL, tmp_path_factory.mktemp("cache"), with_onnx=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_a_contestant_in_lower_precision_is_near_fp32(
    files: Artifacts, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in PACKAGES[name]:
        pytest.importorskip(package)
    monkeypatch.setenv("PYTHONPATH", str(Path(quantizing.__file__).parents[2]))
    contestant = CONTESTANTS[name]
    worker = import_module(f"peer_runs.workers.{contestant.worker}")
    loaded = worker.load(job_of(files, contestant.option))
    with numpy.load(files.reference) as reference:
        wanted = [reference[key] for key in reference.files]
    errors = map_errors(loaded.arrays(loaded.run()), wanted)
    assert 1e-4 < errors.relative < 0.4
    assert errors.cosine > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sparse_ovs", "openvino", "onnxruntime"])
def test_a_contestant_in_fp32_is_exact(files: Artifacts, name: str) -> None:
    pytest.importorskip(name)
    contestant = CONTESTANTS[name]
    worker = import_module(f"peer_runs.workers.{contestant.worker}")
    loaded = worker.load(job_of(files, contestant.option))
    with numpy.load(files.reference) as reference:
        wanted = [reference[key] for key in reference.files]
    assert map_errors(loaded.arrays(loaded.run()), wanted).largest < 1e-4


@pytest.mark.slow
def test_calibration_images_are_others_than_the_input(files: Artifacts) -> None:
    images, x = numpy.load(files.calibration), numpy.load(files.input)
    assert images.shape == (4, 1, 3, 64, 96)
    assert all(not numpy.array_equal(image, x) for image in images)


def test_a_tool_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(quantizing.__file__).parents[2]))
    paths = [str(tmp_path / name) for name in ("weights", "onnx", "input", "calibration")]
    job = Job("m", *paths, 1, "int8")
    with pytest.raises(RuntimeError, match=r"No module named .*no_tool"):
        quantized(job, "no_tool")
    assert not (tmp_path / "no_tool").exists()


def test_what_a_tool_made_is_not_made_again(tmp_path: Path) -> None:
    job = dataclasses.replace(
        Job("m", "", "", "", "", 1, "int8"), weights=str(tmp_path / "weights")
    )
    (tmp_path / "no_tool").mkdir()
    assert quantized(job, "no_tool") == tmp_path / "no_tool"
