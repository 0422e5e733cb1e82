"""What the native library refuses runs in torch, for every size, with its reason in the report."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import _native
from support.models import maps_of
from support.oracles import assert_as_exact_as_torch
from support.small_encoders import Small

X = torch.randn(2, 8, 6, 7)


class Every(nn.Module):
    """Every kind of native step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, stride=(1, 2), padding=(1, 2))
        self.conv.weight.data *= torch.rand(self.conv.weight.shape) < 0.4
        self.conv2 = nn.Conv2d(8, 8, 1)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> list[Tensor]:
        y = F.gelu(self.conv(x))
        y = torch.ops.sparse_ovs.atrous_pool2x2(F.avg_pool2d(y + self.conv2(y), 2), 1)
        tokens = self.norm(y.flatten(2).transpose(1, 2))
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return [y, tokens, F.relu(self.linear(tokens[:, 0]))]


STEPS = ["conv2d", "layer_norm", "attention", "tokens", "crop", "avg_pool2x2", "atrous_pool2x2"]


def refuse(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    make = _native.Program.__init__

    def refusing(program: _native.Program, header: dict[str, Any], *others: Any) -> None:
        if any(step["op"] == op for step in header["steps"]):
            raise _native.NativeRefusal("expected something else")
        make(program, header, *others)

    monkeypatch.setattr(_native.Program, "__init__", refusing)


def assert_right(compiled: nn.Module, model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        fp32, fp64 = maps_of(model(x)), maps_of(copy.deepcopy(model).double()(x.double()))
    for a, b, c in zip(maps_of(compiled(x)), fp64, fp32, strict=True):
        assert_as_exact_as_torch(a, b, c, scale=float(b.abs().max()))


def refused(compiled: nn.Module, x: Tensor) -> set[str]:
    rows = compiled.plan_for(x).rows()
    assert all(row.backend == "torch" for row in rows if row.reason)
    return {row.op for row in rows if row.reason == "expected something else"}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_refused_runs_in_torch_alone(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    model = Every().eval()
    native = sparse_ovs.compile(model, X)
    steps = sum(row.backend not in ("torch", "copy") for row in native.plan_for(X).rows())
    refuse(monkeypatch, step)
    compiled = sparse_ovs.compile(model, X)
    assert len(refused(compiled, X)) == 1
    assert "expected something else" in str(compiled)
    if step != "conv2d":
        left = sum(row.backend not in ("torch", "copy") for row in compiled.plan_for(X).rows())
        assert left == steps - 1
    for shape in (X.shape, (3, 8, 9, 4)):
        assert_right(compiled, model, torch.randn(shape))


def test_whole_plans_that_are_refused_run_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> None:
        raise _native.NativeRefusal("expected something else")

    monkeypatch.setattr(_native.Program, "plan", refusing)
    model = Every().eval()
    compiled = sparse_ovs.compile(model, X)
    assert all(row.backend == "torch" for row in compiled.plan_for(X).rows())
    assert_right(compiled, model, torch.randn(1, 8, 9, 4))


def test_weights_that_are_refused_run_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> None:
        raise _native.NativeRefusal("expected something else")

    monkeypatch.setattr(_native.NativeWeights, "__init__", refusing)
    model = Every().eval()
    for release in (False, True):
        compiled = sparse_ovs.compile(model, X, release_dense=release)
        assert refused(compiled, X) == {"Conv"}
        assert_right(compiled, model, X)


def test_another_size_that_is_refused_runs_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_of = _native.Program.plan

    def small_alone(program: _native.Program, inputs: Any, *others: Any) -> _native.Plan:
        if any(shape[0] > 1 or shape[2] > 16 for shape, _ in inputs):
            raise _native.NativeRefusal("expected something else")
        return plan_of(program, inputs, *others)

    monkeypatch.setattr(_native.Program, "plan", small_alone)
    model = Small().eval()
    for release in (False, True):
        compiled = sparse_ovs.compile(model, torch.randn(1, 3, 16, 16), release_dense=release)
        assert not refused(compiled, torch.randn(1, 3, 16, 16))
        for shape in ((2, 3, 16, 16), (1, 3, 64, 32)):
            x = torch.randn(shape)
            assert "Conv" in refused(compiled, x)
            assert_right(compiled, model, x)


def test_times_are_those_of_torch_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "avg_pool2x2")
    rows = sparse_ovs.compile(Every().eval(), X).plan_for(X).measure(1).rows()
    assert all(row.seconds is not None for row in rows if row.backend == "torch")


def test_a_batch_of_no_images_gives_none() -> None:
    compiled = sparse_ovs.compile(Small().eval(), torch.randn(1, 3, 16, 16))
    assert [tuple(y.shape) for y in compiled(torch.randn(0, 3, 16, 16))] == [
        (0, 8, 8, 8), (0, 16, 4, 4)
    ]  # fmt: skip


def test_an_input_of_which_nothing_is_left_is_named() -> None:
    compiled = sparse_ovs.compile(Small().eval(), torch.randn(1, 3, 16, 16))
    message = "expected a larger input than 2x1: nothing is left of it in avg_pool2d"
    with pytest.raises(ValueError, match=message):
        compiled(torch.randn(1, 3, 2, 1))


def test_a_bug_of_the_library_is_none_of_its_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("internal")

    monkeypatch.setattr(_native.Program, "plan", failing)
    with pytest.raises(RuntimeError, match="internal"):
        sparse_ovs.compile(Small().eval(), torch.randn(1, 3, 16, 16))
