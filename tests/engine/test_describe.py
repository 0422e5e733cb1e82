"""What a compiled encoder says of itself: its steps, their times, and the memory that it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import _native
from sparse_ovs.backbones import Backbone
from sparse_ovs.engine.describe import StepRow, as_table, native_rows
from support.small_encoders import Host, Small

X = torch.randn(1, 3, 20, 24)


def columns(text: str) -> dict[str, list[str]]:
    """Cells of a table by the name of their column; columns are at least two spaces apart."""
    head, *lines = text.splitlines()
    starts = [head.index(name) for name in head.split()]
    ends = [*starts[1:], None]
    return {
        name: [line[start:end].strip() for line in lines]
        for name, start, end in zip(head.split(), starts, ends, strict=True)
    }


def test_every_step_has_its_layer_s_name_what_it_computes_and_its_shape() -> None:
    compiled = sparse_ovs.compile(Small().eval(), X)
    rows = {row.name: row for row in compiled.plan_for(X).rows() if row.op != "copy"}
    # The convolution that adds the other branch runs after it.
    assert list(rows) == ["stem", "conv1", "conv2", "avg_pool2d", "conv3", "avg_pool2d_1", "down"]
    assert rows["stem"].op == "conv 3x3 / 2x2 + relu"
    assert rows["down"].op == "conv 1x1 + residual + relu"
    assert rows["avg_pool2d"].op == "mean 2x2"
    assert rows["conv2"].shape == (1, 4, 10, 12)
    assert rows["conv2"].density == pytest.approx(0.3, abs=0.05)
    assert rows["avg_pool2d"].density is None
    assert rows["conv1"].backend.startswith("sparse rows")
    assert any(panel in rows["conv2"].tile for panel in ("halo", "shifted", "taps"))


def test_layers_go_by_their_qualified_names(sparse_rn50: Backbone, photo: Tensor) -> None:
    text = str(sparse_ovs.compile(sparse_rn50, photo))
    names = columns(text.split("\n", 1)[1])["step"]
    assert {"conv1", "layer1.0.conv1", "layer4.2.conv3", "layer2.0.downsample.0"} <= set(names)


def test_a_layer_that_runs_twice_is_numbered() -> None:
    compiled = sparse_ovs.compile(Host(lambda conv, x: conv(conv(x))).eval(), X)
    names = [row.name for row in compiled.plan_for(X).rows() if row.op != "copy"]
    assert names == ["conv", "conv#2"]


def test_what_stays_in_torch_is_in_the_table() -> None:
    compiled = sparse_ovs.compile(Host(lambda conv, x: torch.sin(conv(x).relu())).eval(), X)
    row = compiled.plan_for(X).rows()[-1]
    assert (row.backend, row.op, row.shape) == ("torch", "aten.sin.default", (1, 3, 20, 24))


def test_times_are_shown_once_they_were_measured() -> None:
    model = Host(lambda conv, x: torch.sin(conv(F.avg_pool2d(x, 2)))).eval()
    plan = sparse_ovs.compile(model, X).plan_for(X)
    assert not str(plan).splitlines()[0].endswith("ms")
    rows = plan.measure(2).rows()
    assert all(row.seconds is not None and row.seconds > 0 for row in rows if row.op != "copy")
    word, shown = str(plan).splitlines()[-1].split()
    assert word == "total"
    assert float(shown) == pytest.approx(1e3 * sum(row.seconds or 0 for row in rows), abs=6e-4)


def test_a_loaded_plan_tells_what_the_compiled_one_tells(tmp_path: Path) -> None:
    compiled = sparse_ovs.compile(Small().eval(), X, threads=1)
    compiled.save(tmp_path / "plan")
    loaded = sparse_ovs.load_plan(tmp_path / "plan", threads=1).plan_for(X)
    assert str(loaded) == str(compiled.plan_for(X))
    assert all(row.seconds for row in loaded.measure(1).rows() if row.op != "copy")


@pytest.mark.parametrize("kind", ["compiled", "loaded"])
def test_no_rounds_are_refused(kind: str, tmp_path: Path) -> None:
    encoder: nn.Module = sparse_ovs.compile(Small().eval(), X)
    if kind == "loaded":
        encoder.save(tmp_path / "plan")
        encoder = sparse_ovs.load_plan(tmp_path / "plan")
    with pytest.raises(ValueError, match="expected at least 1 round, got 0"):
        encoder.plan_for(X).measure(0)


def test_steps_that_run_in_strips_together_carry_one_number() -> None:
    def info(step: int, group: int | None, backend: str) -> _native.StepInfo:
        shape = (1, 8, 4, 6)
        return _native.StepInfo(step, group, backend, shape, 12, 0.5, 2, 6, 8, 2, "halo")

    records = [
        {"op": "conv2d", "name": f"c{i}", "weight": {"shape": [8, 8, 3, 3]}, "stride": [1, 1],
         "dilation": [1, 1], "groups": 2, "inputs": ["x"], "activation": None}
        for i in range(3)
    ]  # fmt: skip
    infos = [info(0, None, "dense"), info(1, 0, "sparse rows1"), info(2, 0, "sparse rows4")]
    rows = native_rows(infos, records, [1.0] * 3, threads=4, first_group=2)
    assert [row.seconds for row in rows] == [1.0, 0.25, 0.25]
    assert [row.group for row in rows] == [None, 2, 2]
    shown = columns(as_table([replace(row, seconds=None) for row in rows]))
    assert shown["strips"] == ["", "2", "2"]
    assert shown["layout"] == ["tiles of 12"] * 3
    assert shown["op"] == ["conv 3x3 2 groups"] * 3


def test_columns_are_aligned() -> None:
    rows = [
        StepRow("a.long.name", "conv 1x1", (1, 2, 3, 4), "dense", 0.001, 0.5),
        StepRow("b", "aten.sin", (), "torch", 1.25),
    ]
    lines = as_table(rows).splitlines()
    assert lines[1].endswith("   1.000")
    assert lines[2].endswith("1250.000")
    assert lines[3].endswith("1251.000")
    assert lines[0].index("backend") == lines[1].index("dense") == lines[2].index("torch")


def test_reasons_stand_last_and_only_where_there_are_any() -> None:
    rows = [
        StepRow("a", "conv 1x1", (1, 2, 3, 4), "dense", 0.001),
        StepRow("b", "aten.sin", (1, 2), "torch", 1.25, reason="no native step"),
    ]
    lines = as_table(rows).splitlines()
    assert lines[0].endswith("      ms  reason")
    assert lines[1].endswith("     1.000")
    assert lines[2].endswith("  1250.000  no native step")
    assert lines[3].endswith("  1251.000")
    assert as_table(rows[:1]).splitlines()[0].endswith("ms")


def test_memory_is_told_by_what_it_is_for() -> None:
    model = Small().eval()
    compiled = sparse_ovs.compile(model, X)
    memory = compiled.memory()
    weights = sum(4 * p.numel() for p in model.parameters())
    assert memory.dense_bytes >= weights
    assert memory.packed_bytes > 0
    assert memory.stream_bytes > 0
    assert list(memory.arena_bytes) == [tuple(X.shape)]
    compiled(torch.randn(1, 3, 40, 48))
    assert list(compiled.memory().arena_bytes.values())[1] > memory.arena_bytes[tuple(X.shape)]
