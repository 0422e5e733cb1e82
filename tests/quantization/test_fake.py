"""Modules that compute as their int8 encoders will: its numbers, and gradients through them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import quantize
from sparse_ovs.engine.export import export_graph, trace
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.engine.int8 import to_int8
from sparse_ovs.engine.weights import NativeConvWeights
from sparse_ovs.quantization.fake import FakeQuantised
from sparse_ovs.quantization.ranges import weight_scales
from sparse_ovs.quantization.rounding_sites import find_sites
from support.small_clips import CONVNEXT, VIT, small_backbone
from support.small_encoders import Small


def small(density: float = 0.3) -> Small:
    torch.manual_seed(0)
    module = Small(density=density, width=32).eval()
    for conv in (module.conv1, module.conv2, module.conv3, module.down):
        conv.weight.data /= conv.weight[0].numel() ** 0.5
    module.norm.weight.data.uniform_(0.5, 2)
    module.norm.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
    return module


def images(count: int = 2, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def masks_of(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: each.weight != 0
        for name, each in module.named_modules()
        if isinstance(each, nn.Conv2d) and name != "stem"
    }


@pytest.mark.parametrize("density", [0.3, 1.0])  # by sparse kernels, and by torch's
def test_outputs_are_those_of_the_int8_encoder(density: float) -> None:
    module, x = small(density), images()
    quantization = quantize(module, [x])
    fast = sparse_ovs.compile(module, x, 1, precision="int8", quantization=quantization)
    fake = FakeQuantised(module, quantization, masks_of(module) if density < 1 else {})
    with torch.no_grad():
        outputs = fake(x)
    ends = ["stem", "down"]  # what makes the outputs
    for ours, theirs, name in zip(outputs, fast(x), ends, strict=True):
        scale = quantization.values[name].scale
        steps = (ours - theirs).abs() / scale
        # Sums in floats may fall to the other side of a half.
        assert float(steps.max()) <= 1.01
        assert float((steps > 0.5).float().mean()) < 0.002


def int8_in_torch(
    model: nn.Module, x: Tensor, quantization: sparse_ovs.Quantization
) -> list[Tensor]:
    """What the int8 encoder's steps give, one after the other, each computed by torch."""
    graph = to_int8(export_graph(model, x)[0], quantization)
    values: dict[str, Any] = {graph.input: x}
    with torch.no_grad():
        for node in graph.nodes:
            given = {name: values[name] for name in node.sources()}
            values[node.name] = run_in_torch(node, given, NativeConvWeights())
    return [values[name] for name in graph.outputs]


@pytest.mark.parametrize(("config", "size"), [(VIT, 32), (CONVNEXT, 64)])
def test_other_encoders_round_where_int8_does(config: dict[str, Any], size: int) -> None:
    backbone, x = small_backbone(config), images(2, size)
    quantization = quantize(backbone, [x])
    with torch.no_grad():
        outputs, exact = FakeQuantised(backbone, quantization, {})(x), backbone(x)
    expected = int8_in_torch(backbone, x, quantization)
    for ours, theirs, plain in zip(outputs, expected, exact, strict=True):
        rounding = float((ours - plain).norm())
        assert rounding > 0.1
        assert float((ours - theirs.reshape(ours.shape)).norm()) < 0.02 * rounding


def test_every_rounded_map_of_the_plan_has_its_site() -> None:
    module, x = small(), images()
    quantization = quantize(module, [x])
    plain = trace(module, x)
    typed = to_int8(export_graph(module, x)[0], quantization)
    sites = find_sites(plain, typed)
    names = {node.name: node for node in plain.nodes}
    assert {names[name].layer for name in sites.weights} == set(masks_of(module)) | {"stem"}
    by_kind = sorted(type(names[name]).__name__ for name in sites.values)
    # Each ReLU's; both poolings'; conv3's sum is rounded before it is added.
    assert by_kind == ["Activation"] * 4 + ["Conv"] + ["Pool"] * 2
    first = next(node.name for node in plain.nodes if node.layer == "stem")
    assert set(sites.inputs[first]) == {plain.input}


def test_gradients_are_those_without_rounding() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    x = images(1, 8)
    quantization = quantize(module, [x])
    fake = FakeQuantised(module, quantization, {})
    (made,) = fake(x)
    slope = torch.randn_like(made)
    (made * slope).sum().backward()
    with torch.no_grad():
        step = quantization.values["input"].scale
        rounded_x = (x / step).round() * step
        conv: Any = module[0]
        scales = weight_scales(conv.weight).reshape(-1, 1, 1, 1)
        sums = F.conv2d(rounded_x, (conv.weight / scales).round() * scales, conv.bias)
        quant = quantization.values["0"]
        least = -quant.zero_point * quant.scale
        inside = (sums >= least) & (sums <= least + 255 * quant.scale)
        assert inside.float().mean() > 0.9
        slope = slope * inside
    expected = torch.einsum("nohw,nihw->oi", slope, rounded_x)
    assert torch.allclose(conv.weight.grad[:, :, 0, 0], expected, rtol=1e-4, atol=1e-4)
    assert torch.allclose(conv.bias.grad, slope.sum((0, 2, 3)), rtol=1e-4, atol=1e-4)


def test_gradients_end_where_a_map_is_out_of_range() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU()).eval()
    module[0].weight.data.fill_(1.0)  # type: ignore[operator, union-attr]
    quantization = quantize(module, [torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)])
    fake = FakeQuantised(module, quantization, {})
    x = torch.full((1, 1, 8, 8), 5.0, requires_grad=True)
    (made,) = fake(x)
    assert torch.allclose(made, torch.ones_like(made))
    made.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


def test_pruned_weights_get_no_gradient_from_sparse_kernels() -> None:
    module, x = small(0.1), images()
    masks = masks_of(module)
    fake = FakeQuantised(module, quantize(module, [x]), masks)
    sum(made.square().sum() for made in fake(x)).backward()  # type: ignore[union-attr]
    for name, mask in masks.items():
        gradient = module.get_submodule(name).weight.grad
        assert isinstance(gradient, Tensor)
        assert gradient[mask].any()
        assert not gradient[~mask].any()


def test_parameters_are_used_as_they_are_at_each_call() -> None:
    module, x = small(), images()
    fake = FakeQuantised(module, quantize(module, [x]), masks_of(module))
    before = fake(x)[0].detach()
    with torch.no_grad():
        module.norm.bias.add_(0.5)
    assert not torch.allclose(fake(x)[0], before)
    with torch.no_grad():
        module.norm.bias.sub_(0.5)
    assert torch.equal(fake(x)[0], before)


def test_training_lowers_the_loss_of_int8() -> None:
    module, x = small(0.3), images(8)
    with torch.no_grad():
        target = [made.clone() for made in small(1.0)(x)]
    quantization = quantize(module, [x])

    def loss(made: list[Tensor]) -> Tensor:
        errors = [(a - b).square().mean() for a, b in zip(made, target, strict=True)]
        return torch.stack(errors).sum()

    fake = FakeQuantised(module, quantization, masks_of(module))
    before = float(loss(fake(x)))
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        loss(fake(x)).backward()
        optimizer.step()
    learned = fake.quantization(x)
    assert learned.values == quantization.values
    fast = sparse_ovs.compile(module, x, 1, precision="int8", quantization=learned)
    assert float(loss(list(fast(x)))) < 0.7 * before
