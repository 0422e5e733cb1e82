"""Rows with ratios, floors and goals; Markdown and pictures of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from matplotlib.image import imread
from rich.console import Console

import peer_runs.report as report
from peer_runs.cases import INT8_TABLE, TABLE, full_grid, select
from peer_runs.picture import draw_bars, draw_curves
from peer_runs.record import Measurement
from peer_runs.report import evaluate, markdown
from sparse_ovs.profiling.errors import MapErrors

ROW = select(TABLE, "06-224-best")[0]


def test_the_ratio_is_of_the_fastest_peer_round_by_round(measurement: Measurement) -> None:
    result = evaluate(ROW, measurement)
    assert result.peer == "onnxruntime"
    assert (result.peer_ms, result.ours_ms) == (100.0, 25.0)
    assert result.ratio is not None
    # rounds: 4, 4, 3
    assert (result.ratio.low, result.ratio.median, result.ratio.high) == (3.5, 4.0, 4.0)
    assert "OpenVINO: wrong: relative error 2.0e-01" in result.note
    assert "without torch channels_last, torch.compile" in result.note


@pytest.mark.parametrize(
    ("floor", "goal", "verdict"),
    [(3.0, 4.0, "goal"), (4.0, 4.1, "floor"), (4.1, 5.0, "below"), (None, None, "-")],
)
def test_floor_and_goal_are_reached_or_not(
    measurement: Measurement, floor: float | None, goal: float | None, verdict: str
) -> None:
    row = dataclasses.replace(ROW, floor=floor, goal=goal)
    assert evaluate(row, measurement).verdict == verdict


def test_a_row_without_its_peer_or_ours_says_why(measurement: Measurement) -> None:
    alone = dataclasses.replace(ROW, against=("openvino",))
    result = evaluate(alone, measurement)
    assert (result.ratio, result.verdict) == (None, "not measured")
    assert result.note == "OpenVINO: wrong: relative error 2.0e-01"
    del measurement.samples["sparse_ovs"]
    measurement.failures["sparse_ovs"] = "no kernels"
    assert "sparse_ovs: no kernels" in evaluate(ROW, measurement).note
    assert evaluate(ROW, None).verdict == "not measured"


def int8_measurement(measurement: Measurement, cpu: str) -> Measurement:
    """The first case of int8 on a CPU with these instructions."""
    samples = {"openvino_int8": [20.0], "sparse_ovs_int8": [10.0], "sparse_ovs": [30.0]}
    return dataclasses.replace(
        measurement,
        configuration=INT8_TABLE[0].configuration,
        contestants=list(samples),
        machine=measurement.machine | {"int8": cpu},
        versions=dict.fromkeys(samples, "1.0"),
        samples=samples,
        errors=dict.fromkeys(samples, MapErrors(0.3, 0.2, 0.98)),
        failures={},
        memory=dict.fromkeys(samples, measurement.memory["eager"]),
    )


def test_int8_has_floors_where_the_cpu_has_vnni_and_no_more(measurement: Measurement) -> None:
    vnni = evaluate(INT8_TABLE[0], int8_measurement(measurement, "AVX-512 VNNI"))
    assert (vnni.row.floor, vnni.verdict) == (2.6, "below")
    amx = evaluate(INT8_TABLE[0], int8_measurement(measurement, "AMX"))
    assert (amx.row.floor, amx.row.goal, amx.verdict) == (None, None, "-")
    assert amx.ratio is not None
    assert amx.ratio.median == 2.0


def test_a_machine_without_floors_says_why(measurement: Measurement) -> None:
    for cpu, why in (
        ("AMX", "int8 rows have no floors on this CPU (AMX): its tiles multiply"),
        ("none", "int8 rows have no floors on this CPU (none): dense int8 has no VNNI"),
    ):
        measured = int8_measurement(measurement, cpu)
        assert why in markdown([], {measured.configuration: measured}, "")
    vnni = int8_measurement(measurement, "AVX-512 VNNI")
    assert "no floors" not in markdown([], {vnni.configuration: vnni}, "")


def test_int8_is_compared_with_our_int8_and_shown_with_its_errors(
    measurement: Measurement,
) -> None:
    measured = int8_measurement(measurement, "AMX")
    text = markdown(
        [evaluate(INT8_TABLE[0], measured)], {measured.configuration: measured}, "2026-01-02"
    )
    assert "| 20.0 | 2.0e-01 | 10.0 | 2.0e-01 | 2.00x (2.00 to 2.00) |  |  | - |" in text
    assert (
        "| 3.00x (3.00 to 3.00)** | **500** | **400** | **3.0e-01** | **2.0e-01**"
        in text.replace("| **3.00x", "| 3.00x")
    )


def test_ours_against_ours_takes_the_contestant_with_two_threads(
    measurement: Measurement,
) -> None:
    measurement.contestants.append("sparse_ovs_2_threads")
    measurement.samples["sparse_ovs_2_threads"] = [12.5, 13.0, 12.0]
    measurement.errors["sparse_ovs_2_threads"] = MapErrors(1e-6, 2e-7, 1.0)
    result = evaluate(select(TABLE, "10-*")[0], measurement)
    assert result.ratio is not None
    assert result.ratio.median == 2.0
    assert result.verdict == "goal"


def test_the_markdown_names_machine_versions_rounds_ratios_and_failures(
    measurement: Measurement,
) -> None:
    result = evaluate(ROW, measurement)
    text = markdown([result], {measurement.configuration: measurement}, "2026-01-02")
    assert "Fast CPU, avx2 kernels, 2 cores, 8 GB, Linux x86_64, Python 3.11.7." in text
    assert (
        "| RN50, 224, 1 thread, uniform 0.1 unstructured | best dense peer: ONNX Runtime "
        "| 100.0 | 2.0e-07 | 25.0 | 2.0e-07 | 4.00x (3.50 to 4.00) | 2.6 | 4.5 | floor |" in text
    )
    assert "3 rounds of 5 passes, 2026-01-02T03:04:05+00:00." in text
    assert (
        "| ONNX Runtime | 1.0 | 100.0 | 86.0 to 102.0 | 4.00x (3.50 to 4.00) | 500 | 400 "
        "| 1.0e-06 | 2.0e-07 | 1.000000 |" in text
    )
    assert "| OpenVINO | 1.0 | wrong: relative error 2.0e-01 |" in text
    assert "Busy" not in text


def test_disturbances_are_told(measurement: Measurement) -> None:
    measurement.idle["eager"] = 0.5
    text = markdown([], {measurement.configuration: measurement}, "")
    assert "Busy while it was not their turn: torch eager 50%." in text
    assert "Other processes" not in text
    measurement.background = 0.84
    text = markdown([], {measurement.configuration: measurement}, "")
    assert "Other processes kept 0.8 cores busy meanwhile." in text


def test_the_rows_are_plain_and_printable(measurement: Measurement) -> None:
    result = evaluate(ROW, measurement)
    record = result.to_dict()
    assert record["ratio"] == [3.5, 4.0, 4.0]
    assert record["verdict"] == "floor"
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.console_table([result]))
    assert "4.00x (3.50 to 4.00)" in console.export_text()


def test_bars_are_drawn_for_every_configuration(tmp_path: Path, measurement: Measurement) -> None:
    other = dataclasses.replace(measurement.configuration, threads=2)
    twice = {measurement.configuration: measurement, other: measurement}
    draw_bars({measurement.configuration: measurement}, tmp_path / "one.png")
    draw_bars(twice, tmp_path / "two.png")
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert two.shape[1] == 2 * one.shape[1]
    assert one.min() < 0.5 < one.max()


def test_curves_are_drawn_for_the_full_grid(tmp_path: Path, measurement: Measurement) -> None:
    rows = select(full_grid(), "RN50-224*-b1-*-best")
    results = [evaluate(row, measurement) for row in rows]
    draw_curves(results, tmp_path / "curves.png")
    image = imread(tmp_path / "curves.png")
    assert image.shape[0] < image.shape[1]  # two panels in a line
    assert image.min() < 0.5 < image.max()
