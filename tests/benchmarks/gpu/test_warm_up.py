"""Kernels that are compiled ahead are found in Triton's cache when a layer asks for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.emulation import aot
from gpu.encoder_layers import Layer, rn50_layers
from gpu_runs import warm_up
from gpu_runs.steps.layer_times import prune
from gpu_runs.warm_up import Case
from sparse_ovs.conv_size import Geometry
from sparse_ovs.formats import fit_mask
from sparse_ovs.ops import BLOCKS
from sparse_ovs.ops.cuda.choose import choices
from sparse_ovs.ops.cuda.request import ConvRequest, conv_arithmetic
from sparse_ovs.profiling.bench.arithmetic import multiplying_as


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """By which Triton keeps what it has compiled, in order."""
    found: list[str] = []

    def note(kernel: Any) -> object:
        found.append(kernel.hash)
        return SimpleNamespace()

    monkeypatch.setattr(aot, "read_compiled", note)
    return found


@pytest.mark.parametrize(
    "case", [Case(3, (64, 64), 8, False, None), Case(1, (32, 32), 8, True, "relu")]
)
def test_a_layer_finds_what_was_compiled_ahead(case: Case, keys: list[str]) -> None:
    assert case in list(warm_up.cases())
    warm_up.compile_case(case, 90)
    layer = next(x for x in rn50_layers(640) if x.kernel == case.kernel and x.size == 20)
    run_layer(layer, case)
    assert len(keys) == 2
    assert keys[0] == keys[1]


def run_layer(layer: Layer, case: Case) -> None:
    with multiplying_as("float16") as dtype, aot.compiling(90), torch.no_grad():
        pruned = prune(layer, 1, "block64x64", dtype, "cpu")
        arithmetic = conv_arithmetic(dtype)
        (choice,) = (
            choice
            for choice in choices(fit_mask(pruned.mask, BLOCKS), arithmetic)
            if choice.variant == case.block
        )
        packed = choice.route.pack(pruned.weight, pruned.mask, choice.variant, arithmetic, None)
        geometry = Geometry((1, 1), layer.padding, (1, 1))
        bias = torch.zeros(layer.out_channels) if case.bias else None
        relu = case.activation == "relu"
        asked = ConvRequest(pruned.x, None, geometry, relu, arithmetic)
        choice.route.conv2d(asked, packed, bias, choice.variant)
