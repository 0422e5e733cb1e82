"""Models that torchao's convert_pt2e made, as int8 plans: torch's own numbers, errors, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.engine import CompiledEncoder
from sparse_ovs.engine.graph import Conv, Convert
from sparse_ovs.engine.weights import integers_of
from support import int8_reference
from support.oracles import random_sparse_weight

pytest.importorskip("torchao.quantization.pt2e.quantize_pt2e")


def converted(model: nn.Module, x: Tensor, **how: Any) -> nn.Module:
    """The model as torchao quantises it for x86, calibrated on x."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config(**how))
    prepared = prepare_pt2e(torch.export.export(model.eval(), (x,)).module(), quantizer)
    prepared(x)
    return convert_pt2e(prepared)


def compiled(model: nn.Module, x: Tensor, **how: Any) -> CompiledEncoder:
    return sparse_ovs.compile(model, x, threads=1, autotune=False, precision="int8", **how)


def backends(fast: CompiledEncoder, x: Tensor) -> dict[str, str]:
    return {row.name: row.backend for row in fast.plan_for(x).rows() if row.op.startswith("conv ")}


class Residual(nn.Module):
    """Three convolutions around an add, BatchNorm, and a last one whose result is no int8."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 1)
        self.last = nn.Conv2d(width, 4, 1)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        return self.last(F.relu(self.second(F.relu(self.first(x))) + x))


class Classifier(nn.Module):
    """A pool of maxima after the stem, one over the whole map, and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.hidden, self.last = nn.Linear(8, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        x = F.adaptive_avg_pool2d(F.relu(self.conv(x)), 1).flatten(1)
        return self.last(F.relu(self.hidden(x)))


def test_int8_steps_give_torchs_integers_but_for_one() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 32, 40)
    model = converted(Residual(), x)
    # The graph of all but the last layer: what the steps make is seen in their own numbers.
    reading = next(node for node in model.graph.nodes if node.name == "conv2d_3").args[0]
    scale = float(reading.args[1])
    next(node for node in model.graph.nodes if node.op == "output").args = ((reading,),)
    model.recompile()
    fast = compiled(model, x)
    assert all(backend.startswith("int8") for backend in backends(fast, x).values())
    with torch.no_grad():
        off = (fast(x) - model(x)).abs() / scale
    assert float(off.max()) < 1.01
    assert float((off > 0.5).float().mean()) < 0.01


@pytest.mark.parametrize("make", [Residual, Classifier])
def test_outputs_are_those_of_torchs_own_run(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 32, 40)
    model = converted(make(), x)
    with torch.no_grad():
        expected = model(x)
    for fast in (compiled(model, x), sparse_ovs.compile(model, x, autotune=False)):
        assert float((fast(x) - expected).abs().max()) < 0.01 * float(expected.abs().max())


def test_a_plan_equals_sums_of_integers_exactly() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 32, 40)
    fast = compiled(converted(Residual(), x), x)
    # fp32 layers sum in another order in torch.
    torch.testing.assert_close(fast(x), int8_reference.outputs(fast._graph, x)[0])


def test_weights_are_the_integers_that_the_model_brings() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 16, 16)
    net = Residual()
    net.first.weight.data[0, 0, 0, 0] = -9.0  # the lowest of its channel: -128
    model = converted(net, x)
    found = {node.layer: node for node in compiled(model, x)._graph.nodes if isinstance(node, Conv)}
    given = dict(model.named_buffers())
    for number, layer in enumerate(["stem", "first", "second"]):
        conv = found[layer]
        assert conv.weight_scales is not None
        integers = integers_of(conv, conv.weight)
        assert torch.equal(integers, given[f"_frozen_param{number}"])
    assert int(given["_frozen_param1"].min()) == -128


def test_zeros_are_not_multiplied() -> None:
    torch.manual_seed(0)
    x, net = torch.randn(1, 3, 32, 32), Residual()
    net.first.weight.data = random_sparse_weight(net.first.weight.shape, 0.2, "block4x1")
    model = converted(net, x)
    fast = compiled(model, x)
    assert backends(fast, x)["first"] == "int8 rows4"
    with torch.no_grad():
        expected = model(x)
    assert float((fast(x) - expected).abs().max()) < 0.01 * float(expected.abs().max())


def test_what_stays_in_fp32_says_why() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 32, 32)
    rows = {row.name: row for row in compiled(converted(Residual(), x), x).plan_for(x).rows()}
    assert rows["second"].reason == ""
    assert rows["last"].reason == "what it makes is not quantised to u8"


@pytest.mark.parametrize("how", [{"reduce_range": True}, {"is_dynamic": True}])
def test_what_is_no_u8_with_a_known_scale_runs_in_fp32(how: dict[str, Any]) -> None:
    torch.manual_seed(0)
    x, net = torch.randn(2, 3, 24, 24), Classifier()
    model = converted(net, x, **how)
    fast = compiled(model, x)
    with torch.no_grad():
        expected = model(x)
    assert not any(backend.startswith("int8") for backend in backends(fast, x).values())
    assert float((fast(x) - expected).abs().max()) < 0.02 * float(expected.abs().max())


def test_the_largest_of_rounded_numbers_is_the_rounded_largest_one() -> None:
    """So the layer before the pool computes in int8."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 32, 32)
    fast = compiled(converted(Classifier(), x), x)
    assert backends(fast, x)["stem"].startswith("int8")
    assert backends(fast, x)["hidden"].startswith("int8")


def test_a_signed_map_is_one_of_u8() -> None:
    class Rounds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fake_quantize_per_tensor_affine(x, 0.05, -3, -128, 127)

    x = torch.randn(1, 3, 9, 11)
    fast = sparse_ovs.compile(Rounds().eval(), x)
    quants = [node.quant for node in fast._graph.nodes if isinstance(node, Convert)]
    assert [None if q is None else q.zero_point for q in quants] == [125, None]
    torch.testing.assert_close(fast(x), Rounds()(x))


def test_a_plan_file_gives_the_same_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 32, 32)
    fast = compiled(converted(Residual(), x), x)
    fast.save(tmp_path / "net.plan")
    assert torch.equal(sparse_ovs.load_plan(tmp_path / "net.plan")(x), fast(x))


def test_a_second_set_of_scales_is_refused() -> None:
    x = torch.randn(1, 3, 16, 16)
    net = Residual().eval()
    q = sparse_ovs.quantize(net, [x])
    with pytest.raises(ValueError, match="of a model that brings its own scales, got one"):
        compiled(converted(net, x), x, quantization=q)


@pytest.mark.slow
def test_a_resnet_gives_torchs_classes() -> None:
    import timm

    torch.manual_seed(0)
    x = torch.randn(4, 3, 64, 64)
    model = converted(timm.create_model("resnet18"), x)
    fast = compiled(model, x)
    with torch.no_grad():
        expected = model(x)
    assert sum(backend.startswith("int8") for backend in backends(fast, x).values()) >= 18
    assert float((fast(x) - expected).norm() / expected.norm()) < 0.02
    assert torch.equal(fast(x).argmax(1), expected.argmax(1))
