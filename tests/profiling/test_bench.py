"""Benchmarks of layers and encoders: what is compared, what a failure leaves, what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from sparse_ovs.backbones import Backbone
from sparse_ovs.cli.app import app
from sparse_ovs.profiling import devices
from sparse_ovs.profiling.bench import Bench, Row, bench_tables, run_bench, runner
from sparse_ovs.profiling.bench.arithmetic import multiplying_as
from sparse_ovs.profiling.bench.contest import contest
from sparse_ovs.profiling.bench.layers import layer_cases
from sparse_ovs.profiling.bench.stopwatch import Stopwatch
from sparse_ovs.profiling.pair import EncoderPair

CPU = torch.device("cpu")


class Tiny(Backbone):
    """Two layers that are alike, one that is not, and one out of scope."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.third = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 8)

    def scope(self) -> list[str]:
        return ["second", "third", "head"]

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.third(self.second(self.first(x)))
        return [y, self.head(y.mean((2, 3)))]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark's encoder is a tiny one."""

    def pair(model: str, x: Tensor, density: float, pattern: str) -> EncoderPair:
        return EncoderPair(Tiny(), Tiny(), density, pattern, None, "random")

    monkeypatch.setattr(runner, "create_backbone", lambda model: Tiny().eval())
    monkeypatch.setattr(runner, "make_pair", pair)
    monkeypatch.setitem(runner._ENCODERS, "cpu", ("channels_last",))


def test_layers_that_are_alike_are_run_once() -> None:
    cases = layer_cases(Tiny().eval(), torch.zeros(2, 3, 8, 9))
    assert [(case.name, case.input_shape) for case in cases] == [
        ("second", (2, 16, 8, 9)),
        ("head", (2, 16)),
    ]
    for case in cases:
        assert not case.module._forward_pre_hooks


def test_every_layer_and_the_encoder_have_a_row_for_each_pattern(tiny: None) -> None:
    steps: list[str] = []
    bench = run_bench("any", size=(8, 9), batch=2, rounds=3, on_step=steps.append)
    assert [(row.subject, row.pattern) for row in bench.rows] == [
        ("second", "unstructured"),
        ("head", "unstructured"),
        ("second", "block4x1"),
        ("head", "block4x1"),
        ("encoder", "unstructured"),
        ("encoder", "block4x1"),
    ]
    for row in bench.rows[:4]:
        assert row.backend == "native"
        assert row.problems == {}
        assert row.sparse_ms is not None
        assert row.sparse_ms > 0
        assert row.best == "dense"
        assert row.max_rel_err is not None
        assert row.max_rel_err < 1e-5
        assert abs(row.density - 0.1) < 0.02
    assert steps[0] == "create any"
    record = json.loads(json.dumps(bench.to_dict()))
    assert record["format_version"] == 1
    assert record["rows"][0]["input_shape"] == [2, 16, 8, 9]
    assert record["machine"]["threads"] == str(torch.get_num_threads())
    assert len(bench_tables(bench)) == 2


def test_a_dtype_without_kernels_is_a_problem_and_no_end(tiny: None) -> None:
    bench = run_bench("any", size=(8, 8), patterns=["unstructured"], arithmetics=["bfloat16"])
    row = bench.rows[0]
    assert row.problems == {"sparse": "ValueError: bfloat16 has no CPU kernel"}
    assert row.sparse_ms is row.speedup is None
    assert row.dense_ms["dense"] is not None


def test_2_4_keeps_two_of_four_whatever_is_asked() -> None:
    assert runner.density_of("2:4", 0.1) == 0.5
    assert runner.density_of("block32x32", 0.1) == 0.1


def test_contestants_that_fail_are_told_and_the_fastest_of_the_rest_is_the_baseline() -> None:
    def value(number: float) -> Callable[[], Callable[[], list[Tensor]]]:
        return lambda: lambda: [torch.tensor([1.0, number])]

    def broken() -> Callable[[], list[Tensor]]:
        raise RuntimeError("no such kernel\nmore")

    outcome = contest(
        {"a": value(1), "b": broken},
        value(1.5),
        lambda: [torch.tensor([1.0, 2.0])],
        Stopwatch(CPU),
        rounds=3,
    )
    assert outcome.problems == {"b": "RuntimeError: no such kernel"}
    assert outcome.dense_ms["b"] is None
    assert outcome.best == "a"
    assert outcome.speedup is not None
    assert outcome.max_rel_err == 0.25
    nothing = contest({"b": broken}, broken, lambda: [], Stopwatch(CPU), rounds=1)
    assert nothing.best is nothing.speedup is nothing.sparse_ms is None


def test_switches_of_tf32_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with multiplying_as("float32") as dtype:
        assert dtype == torch.float32
        assert not torch.backends.cudnn.allow_tf32
        with multiplying_as("tf32"):
            assert torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cpu:0x", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected device cpu, cuda or cuda:N, got"):
        devices.find_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_asking_for_a_gpu_that_is_not_there_says_so() -> None:
    with pytest.raises(RuntimeError, match="expected a CUDA GPU for device 'cuda', got"):
        run_bench(device="cuda")


def test_an_unknown_arithmetic_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected arithmetics of float16, .* got 'int8'"):
        run_bench(arithmetics=["int8"])


def test_the_command_writes_the_record_and_prints_tables(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bench.json"
    options = ["--size", "8", "--rounds", "1", "--pattern", "unstructured", "--json", str(file)]
    result = CliRunner().invoke(app, ["bench", *options])
    assert result.exit_code == 0, result.output
    assert "unstructured, float32" in result.output
    assert len(json.loads(file.read_text())["rows"]) == 3
    printed = CliRunner().invoke(app, ["bench", *options[:-1], "-"])
    assert json.loads(printed.stdout)["size"] == [8, 8]


def test_a_product_per_pixel_is_told_from_other_convolutions() -> None:
    assert runner._is_product(nn.Linear(8, 8))
    assert runner._is_product(nn.Conv2d(8, 8, 1))
    assert not runner._is_product(nn.Conv2d(8, 8, 1, stride=2))
    assert not runner._is_product(nn.Conv2d(8, 8, 3))


def test_a_row_s_problems_stand_below_it() -> None:
    row = Row(
        "a", (1,), (1,), "2:4", 0.5, "tf32", "bsr", {"d": 1.0}, None, "d", None, None, {"s": "x"}
    )
    bench = Bench("m", (8, 8), 1, 0.1, 3, "cpu", {"device": "d"}, [row])
    (table,) = bench_tables(bench)
    assert list(table.columns[0].cells) == ["a", "  s: x"]
