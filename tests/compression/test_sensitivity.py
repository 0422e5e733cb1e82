"""How much outputs feel errors of layers: against whole Jacobians, and in what compress decides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.compression.layers import Layer, find_layers
from sparse_ovs.compression.sensitivity import sensitivities
from sparse_ovs.engine.export import trace
from support.small_clips import CONVNEXT, VIT, small_backbone


class TwoOutputs(nn.Module):
    """A convolution with BatchNorm, one with a bias, one with neither."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 3, 3, stride=2, padding=1)
        self.third = nn.Conv2d(3, 5, 1, bias=False)
        self.norm.weight.data.uniform_(0.3, 2)
        self.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]

    def parts(self) -> list[nn.Module]:
        """Each begins right after a layer's outputs, as its errors count."""
        second = nn.Sequential(nn.ReLU(), self.second)
        third = nn.Sequential(nn.Tanh(), self.third)
        return [nn.Sequential(self.first, self.norm), second, third]

    def forward(self, x: Tensor) -> list[Tensor]:
        first, second, third = self.parts()
        middle = second(first(x))
        return [middle, third(middle)]


def by_jacobians(module: TwoOutputs, image: Tensor) -> list[float]:
    first, second, third = module.double().parts()
    x = image.double()
    places = [first(x), second(first(x)), third(second(first(x)))]
    paths = [
        lambda at: [second(at), third(second(at))],
        lambda at: [at, third(at)],
        lambda at: [at],
    ]
    found = []
    for number, (place, path) in enumerate(zip(places, paths, strict=True)):
        axes = (0, 2, 3)
        power = (place**2).mean(axes)
        if number < 2:  # a bias makes means good
            power = power - place.mean(axes) ** 2
        deviation = power.sqrt().reshape(-1, 1, 1).expand_as(place[0]).flatten()
        total = 0.0
        jacobians = torch.autograd.functional.jacobian(lambda at: tuple(path(at)), place)  # noqa: B023
        for output, jacobian in zip(path(place), jacobians, strict=True):
            matrix = jacobian.reshape(output.numel(), place.numel())
            total += float(((matrix * deviation) ** 2).sum().detach() / (output**2).sum().detach())
        found.append(total)
    module.float()
    return found


def layers_of(module: nn.Module, image: Tensor) -> tuple[list[Layer], dict[str, float]]:
    graph = trace(module, image)
    layers = find_layers(module, graph, image)
    return layers, sensitivities(graph, layers, [image], 0)


def test_random_directions_give_what_whole_jacobians_do() -> None:
    module = TwoOutputs().eval()
    image = torch.randn(1, 3, 6, 6)
    expected = by_jacobians(module, image)
    graph = trace(module, image)
    layers = find_layers(module, graph, image)
    found = sensitivities(graph, layers, [image] * 300, 0)
    assert list(found) == ["first", "second", "third"]
    assert list(found.values()) == pytest.approx(expected, rel=0.15)


def test_an_output_that_is_the_layers_own_feels_its_relative_loss() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False)).eval()
    image = torch.randn(1, 3, 40, 40)
    _, found = layers_of(module, image)
    assert found["0"] == pytest.approx(1.0, rel=0.1)


def test_a_layer_that_nothing_sees_is_not_felt() -> None:
    module = TwoOutputs().eval()
    module.third.weight.data.zero_()
    module.norm.weight.data.zero_()
    layers, found = layers_of(module, torch.randn(1, 3, 6, 6))
    assert [each.name for each in layers] == ["first", "second", "third"]
    assert found["first"] == found["third"] == 0.0


@pytest.mark.parametrize(("config", "size"), [(VIT, 32), (CONVNEXT, 64)])
def test_layers_of_other_encoders_are_felt(config: dict[str, Any], size: int) -> None:
    backbone = small_backbone(config)
    image = torch.randn(1, 3, size, size)
    layers, found = layers_of(backbone, image)
    assert set(found) == {each.name for each in layers}
    assert all(0 < each < float("inf") for each in found.values())
