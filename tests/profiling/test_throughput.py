"""Encoders under load: what streams do together, who is compared, what is written."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sparse_ovs.cli.app import app
from sparse_ovs.profiling.runtimes import INT8_DENSE, installed
from sparse_ovs.profiling.throughput import (
    Throughput,
    ThroughputRow,
    measure_throughput,
    throughput_table,
)
from sparse_ovs.profiling.throughput.record import make_rows
from sparse_ovs.profiling.throughput.streams import Load, Streams
from sparse_ovs.profiling.timing import Ratio


def small(**options: object) -> Throughput:
    given = {"size": (64, 64), "seconds": 0.02, "rounds": 2, "baselines": ["eager"], **options}
    return measure_throughput("scenes-RN50", **given)  # type: ignore[arg-type]


def test_streams_run_at_the_same_time() -> None:
    together = threading.Barrier(3)

    def meet() -> None:
        together.wait(5)  # passes only where all three are in their call

    with Streams([meet] * 3) as streams:
        begun = time.perf_counter()
        load = streams.load(0)  # the untimed call, and the least there is to time
        assert time.perf_counter() - begun >= load.seconds
    assert len(load.latencies_ms) == 3


def test_each_stream_keeps_its_thread_from_load_to_load() -> None:
    seen: set[int] = set()
    with Streams([lambda: seen.add(threading.get_ident())] * 2) as streams:
        for _ in range(3):
            streams.load(0.001)
    assert len(seen) == 2


def test_a_rate_counts_the_calls_of_all_streams() -> None:
    with Streams([lambda: time.sleep(0.01)] * 4) as streams:
        load = streams.load(0.05)
    assert load.calls_per_second == len(load.latencies_ms) / load.seconds
    assert len(load.latencies_ms) >= 4
    assert min(load.latencies_ms) >= 10


def test_a_call_that_fails_is_what_is_raised_and_stops_the_others() -> None:
    def fail() -> None:
        raise ZeroDivisionError("the cause")

    with Streams([lambda: None, fail, lambda: None]) as streams, pytest.raises(ZeroDivisionError):
        streams.load(60)


def test_a_call_that_fails_later_is_raised_too() -> None:
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ZeroDivisionError

    with Streams([fail]) as streams, pytest.raises(ZeroDivisionError):
        streams.load(60)


def test_rows_hold_medians_quartiles_and_percentiles() -> None:
    loads = {
        "eager": [Load([100.0] * 10, 1.0), Load([100.0] * 20, 1.0), Load([100.0] * 30, 1.0)],
        "frozen": [Load([50.0] * 20, 1.0), Load([50.0] * 40, 1.0), Load([50.0] * 60, 1.0)],
        "sparse fp32": [Load([float(ms) for ms in range(1, 101)], 1.0)] * 3,
    }
    rows = make_rows(loads, 4, ["eager", "frozen"], {"compiled": "no compiler"})
    eager, frozen, sparse, compiled = rows
    assert frozen.images_per_second == Ratio(160, 120, 200)
    assert eager.against_dense == Ratio(0.5, 0.5, 0.5)
    assert sparse.against_dense is not None
    assert sparse.against_dense.median == 2.5
    assert sparse.latency_ms == pytest.approx((50.5, 90.1, 99.01))
    assert compiled == ThroughputRow("compiled", None, None, None, "no compiler")


def test_contestants_run_on_their_share_of_threads() -> None:
    made = small(streams=2, threads=2, batch=2)
    assert made.threads == 1
    assert [row.name for row in made.rows] == ["eager", "sparse fp32"]
    for row in made.rows:
        assert row.images_per_second is not None
        assert row.latency_ms is not None
        assert row.images_per_second.median > 0
        assert 0 < row.latency_ms[0] <= row.latency_ms[1] <= row.latency_ms[2]


def test_a_runtime_that_cannot_be_built_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*arguments: object) -> list[Callable[[], list[object]]]:
        raise OSError("no such operator\nand more")

    broken = INT8_DENSE["openvino_int8"].__class__("Broken", (), build, build)  # type: ignore[arg-type]
    monkeypatch.setitem(INT8_DENSE, "broken", broken)
    made = small(peers=["broken"])
    assert made.rows[-1].name == "broken"
    assert made.rows[-1].problem == "OSError: no such operator"
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(throughput_table(made))
    assert "broken: OSError: no such operator" in console.export_text()


@pytest.mark.slow
@pytest.mark.skipif("openvino_int8" not in installed(), reason="OpenVINO and NNCF are not here")
def test_openvino_runs_in_streams() -> None:
    made = small(streams=2, threads=2, peers=["openvino_int8"])
    assert made.rows[-1].name == "openvino_int8"
    assert made.rows[-1].images_per_second is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streams": 0}, "expected streams of at least 1, got 0"),
        ({"batch": 0}, "expected batch of at least 1, got 0"),
        ({"rounds": 0}, "expected rounds of at least 1, got 0"),
        ({"seconds": 0.0}, "expected turns of more than 0 seconds, got 0.0"),
        ({"streams": 3, "threads": 2}, "expected a thread for each of 3 streams, got 2"),
        ({"peers": ["onnxruntime_int8"]}, "expected runtimes of openvino_int8, got 'onnx"),
        ({"precisions": ["int4"]}, "expected a precision"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_the_command_writes_its_record(tmp_path: Path) -> None:
    record = tmp_path / "load.json"
    options = ["scenes-RN50", "--size", "64", "--streams", "1", "--threads", "1", "--rounds", "1"]
    more = [
        "--seconds",
        "0.02",
        "--precision",
        "int8",
        "--profile",
        "trained",
        "--baseline",
        "eager",
    ]
    result = CliRunner().invoke(app, ["bench", *options, *more, "--json", str(record)])
    assert result.exit_code == 0, result.output
    assert "images/s" in result.output
    told = json.loads(record.read_text())
    assert (told["streams"], told["threads"], told["profile"]) == (1, 1, "trained")
    assert told["rows"][-1]["name"] == "sparse int8"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--streams", "1", "--device", "cuda"], "expected the cpu"),
        (["--streams", "1", "--pattern", "2:4", "--pattern", "channel"], "one --pattern"),
        (["--streams", "1", "--arithmetic", "float32"], "no --arithmetic"),
        (["--precision", "int8"], "expected --streams"),
        (["--baseline", "eager"], "expected --streams"),
        (["--peers"], "expected --streams"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["bench", "scenes-RN50", *options])
    assert result.exit_code != 0
    assert message in " ".join(str(result.output).split()) + str(result.exception)
