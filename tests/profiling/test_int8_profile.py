"""A profile in int8: beside fp32, with its errors, and against dense int8 where that is there."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from sparse_ovs import quantize
from sparse_ovs._native import bf16_isa
from sparse_ovs.profiling import (
    Int8DenseRow,
    Profile,
    encoder,
    error_line,
    int8_dense_line,
    make_pair,
    profile_encoder,
    profile_tables,
    tables,
)
from sparse_ovs.profiling.contestants import whole_plan
from sparse_ovs.profiling.errors import MapErrors
from sparse_ovs.profiling.html import render_html
from sparse_ovs.profiling.images import smooth_images
from sparse_ovs.profiling.int8_peers import build_int8_dense
from sparse_ovs.profiling.runtimes import INT8_DENSE, installed
from sparse_ovs.profiling.timing import Ratio


@pytest.fixture(scope="module")
def profile() -> Profile:
    return profile_encoder(
        "scenes-RN50",
        0.3,
        size=(64, 96),
        threads=1,
        baselines=["eager"],
        rounds=2,
        quantize=quantize,
    )


def row(ms: float | None, failure: str = "") -> Int8DenseRow:
    errors = None if ms is None else MapErrors(0.3, 0.2, 0.98)
    ratio = None if ms is None else Ratio(2.0, 1.9, 2.1)
    return Int8DenseRow("openvino_int8", "OpenVINO int8", ms, errors, ratio, failure)


def with_rows(profile: Profile, *rows: Int8DenseRow) -> Profile:
    return dataclasses.replace(profile, int8_dense=rows)


def test_int8_is_measured_beside_fp32_with_its_errors(profile: Profile) -> None:
    record = json.loads(json.dumps(profile.to_dict()))
    assert record["precision"] == "int8"
    assert record["fp32_ms"] > 0
    assert 1e-4 < record["rel_err"] < 0.4
    assert 0.9 < record["cosine"] < 1
    assert record["max_rel_err"] > 1e-4
    assert record["int8_dense"] == []
    assert error_line(profile).startswith("worst map of int8 against dense fp32: relative error ")


def test_layers_have_times_of_both_precisions(profile: Profile) -> None:
    assert all(layer.backend.startswith("int8") and not layer.reason for layer in profile.layers)
    assert all(layer.ms_fp32 and layer.ms_sparse > 0 for layer in profile.layers)
    console = Console(width=220, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in profile_tables(profile):
        console.print(table)
    text = " ".join(console.export_text().split())  # titles wrap
    for words in ("sparse_ovs, plan, int8", "sparse fp32", "sparse int8", "random weights, int8"):
        assert words in text
    assert "sparse_ovs, plan, int8" in render_html(profile)


@pytest.mark.skipif(bf16_isa() is None, reason="no bf16 kernel runs on this CPU")
def test_bf16_is_measured_beside_fp32_with_its_errors() -> None:
    made = profile_encoder(
        "scenes-RN50", 0.3, size=(64, 96), threads=1, baselines=["eager"], rounds=1, bf16=True
    )
    assert made.precision == "bf16"
    assert made.fp32_ms is not None
    assert 1e-4 < made.rel_err < 0.2
    assert all(layer.backend.startswith("bf16") for layer in made.layers)
    assert made.ours == "sparse_ovs, plan, bf16"
    assert error_line(made).startswith("worst map of bf16 against dense fp32: relative error ")


def test_layers_that_stay_in_fp32_say_why() -> None:
    x = smooth_images(1, (64, 64), seed=0)
    pair = make_pair("scenes-RN50", x, 0.3)
    scales = quantize(pair.dense, [x], exclude=["layer1.0.conv2"])
    layer = whole_plan(pair, x, scales).report.get("layer1.0.conv2")
    assert layer is not None
    assert not layer.backend.startswith("int8")
    assert layer.reason == "kept in fp32, as asked for"


@pytest.mark.parametrize(("given", "calibrating"), [(3, [1, 2]), (1, [0]), (0, [1, 2, 3, 4])])
def test_the_first_image_is_timed_and_the_others_calibrate(
    given: int, calibrating: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(encoder, "make_pair", lambda *_: SimpleNamespace(dense=None))
    monkeypatch.setattr(encoder, "profile_pair", lambda *arguments: seen.append(arguments))
    all_images = [smooth_images(1, (64, 64), seed) for seed in range(5)]
    profile_encoder(
        "RN50",
        size=(64, 64),
        quantize=lambda model, batches: batches,
        images=all_images[:given] or None,
    )
    _, x, *_, scales, _, calibration, _ = seen[0]
    assert scales is calibration
    assert x.equal(all_images[0])
    assert len(calibration) == len(calibrating)
    assert all(c.equal(all_images[k]) for c, k in zip(calibration, calibrating, strict=True))


def test_int8_of_swapped_modules_is_refused() -> None:
    with pytest.raises(
        ValueError, match="expected mode 'plan' on the cpu with int8, got 'modules'"
    ):
        profile_encoder("scenes-RN50", mode="modules", size=(64, 64), quantize=quantize)


def test_the_best_dense_is_named_in_any_precision(profile: Profile) -> None:
    assert int8_dense_line(with_rows(profile, row(1e-3)), True) == (
        "best dense in any precision: OpenVINO int8, 0.0 ms, relative error 2.0e-01, cosine "
        "0.9800; sparse_ovs, plan, int8 is 2.00x (1.90 to 2.10) as fast"
    )
    for other in (row(1e6), row(None, "no exporter")):
        line = int8_dense_line(with_rows(profile, other), True)
        assert line.startswith("best dense in any precision: torch eager, fp32, ")


def test_dense_int8_that_was_not_measured_is_told_with_the_way_to_it(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "installed", lambda: ["openvino_int8"])
    line = int8_dense_line(profile, asked=False)
    assert line == "dense int8 was not measured: --peers measures OpenVINO int8"
    monkeypatch.setattr(tables, "installed", list)
    for asked in (False, True):
        line = int8_dense_line(profile, asked)
        assert line.endswith("no runtime is installed (pip install openvino nncf)")


def test_tables_show_dense_int8_or_why_it_failed(profile: Profile) -> None:
    console = Console(width=220, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    failed = dataclasses.replace(row(None, "no exporter"), label="ONNX Runtime int8")
    made = with_rows(profile, row(12.3), failed)
    console.print(profile_tables(made)[0])
    text = " ".join(console.export_text().split())  # titles wrap
    assert "OpenVINO int8, dense" in text
    assert "12.3" in text
    assert "no exporter" in text
    assert "could not be built" in render_html(made)


def test_a_runtime_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> object:
        raise RuntimeError("no kernel\nand a long story")

    broken = dataclasses.replace(INT8_DENSE["openvino_int8"], build=fail)
    fine = dataclasses.replace(INT8_DENSE["onnxruntime_int8"], build=lambda *_: list)
    monkeypatch.setitem(INT8_DENSE, "openvino_int8", broken)
    monkeypatch.setitem(INT8_DENSE, "onnxruntime_int8", fine)
    peers = build_int8_dense(nn.Identity(), torch.zeros(1), list(INT8_DENSE), [], 1)
    assert peers.failures == {"openvino_int8": "RuntimeError: no kernel"}
    assert list(peers.runs) == ["onnxruntime_int8"]
    with pytest.raises(ValueError, match=r"expected runtimes of openvino_int8, .*got 'tensorrt'"):
        build_int8_dense(nn.Identity(), torch.zeros(1), ["tensorrt"], [], 1)


@pytest.mark.slow
def test_the_installed_runtimes_run_dense_int8() -> None:
    if not (here := installed()):
        pytest.skip("no runtime with int8 is installed")
    made = profile_encoder(
        "scenes-RN50", 0.3, size=(64, 64), threads=1, baselines=["eager"], rounds=2, int8_dense=here
    )
    assert [each.failure for each in made.int8_dense] == [""] * len(here)
    for each in made.int8_dense:
        assert each.ms
        assert each.errors
        assert 1e-4 < each.errors.relative < 0.4
