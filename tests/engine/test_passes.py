"""Passes over the engine's graph: what folds and fuses, and what must not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparse_ovs.engine.graph import Activation, Add, BatchNorm, Conv, Graph, Pool
from sparse_ovs.engine.importer import import_program
from sparse_ovs.engine.passes import optimise
from sparse_ovs.engine.torch_nodes import TorchNode

X = torch.randn(2, 4, 9, 8)


class Net(nn.Module):
    """Two 3x3 convolutions, a 1x1 one, a BatchNorm, and a forward to be given."""

    def __init__(self, forward: Callable[[Net, Tensor], object]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        nn.init.uniform_(self.norm.running_mean, -1, 1)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)
        self._forward = forward

    def forward(self, x: Tensor) -> object:
        return self._forward(self, x)


def graph_of(forward: Callable[[Net, Tensor], object]) -> Graph:
    program = torch.export.export(Net(forward).eval(), (X,))
    return optimise(import_program(program))


def kinds(graph: Graph) -> list[type]:
    return [type(node) for node in graph.nodes]


def conv(graph: Graph, place: int) -> Conv:
    node = graph.nodes[place]
    assert isinstance(node, Conv)
    return node


def test_a_norm_and_a_relu_after_a_convolution_vanish_in_it() -> None:
    graph = graph_of(lambda net, x: net.norm(net.conv1(x)).relu())
    assert kinds(graph) == [Conv]
    assert conv(graph, 0).activation == "relu"
    assert conv(graph, 0).bias is not None
    assert graph.outputs == [conv(graph, 0).name]


def test_relu_in_place_is_fused_too() -> None:
    graph = graph_of(lambda net, x: net.conv2(net.conv1(x).relu_()).relu_())
    assert kinds(graph) == [Conv, Conv]
    assert conv(graph, 0).activation == "relu"
    assert conv(graph, 1).activation == "relu"


def test_a_norm_after_a_relu_stays() -> None:
    assert kinds(graph_of(lambda net, x: net.norm(net.conv1(x).relu()))) == [Conv, BatchNorm]


def test_a_norm_of_a_map_that_is_read_elsewhere_stays() -> None:
    def forward(net: Net, x: Tensor) -> object:
        y = net.conv1(x)
        return net.norm(y), y

    assert kinds(graph_of(forward)) == [Conv, BatchNorm]


def test_a_relu_of_a_map_that_is_read_elsewhere_stays() -> None:
    def forward(net: Net, x: Tensor) -> object:
        y = net.conv1(x)
        return y.relu(), y

    assert kinds(graph_of(forward)) == [Conv, Activation]


def test_a_residual_is_added_by_the_convolution_before_it() -> None:
    graph = graph_of(lambda net, x: (net.conv1(x) + x).relu())
    assert kinds(graph) == [Conv]
    assert conv(graph, 0).residual == graph.input
    assert conv(graph, 0).activation == "relu"


def test_of_two_convolutions_the_later_one_adds_the_other() -> None:
    graph = graph_of(lambda net, x: net.conv1(x) + net.conv2(x))
    assert kinds(graph) == [Conv, Conv]
    assert conv(graph, 1).residual == conv(graph, 0).name


def test_a_residual_that_comes_later_moves_the_convolution_behind_it() -> None:
    def forward(net: Net, x: Tensor) -> object:
        y = net.conv1(x)
        return y + torch.sin(x)

    graph = graph_of(forward)
    assert kinds(graph) == [TorchNode, Conv]
    assert conv(graph, 1).residual == graph.nodes[0].name


def test_a_relu_before_the_add_keeps_them_apart() -> None:
    assert kinds(graph_of(lambda net, x: net.conv1(x).relu() + x)) == [Conv, Add]


def test_a_map_added_to_itself_stays_an_add() -> None:
    def forward(net: Net, x: Tensor) -> object:
        y = net.conv1(x)
        return y + y

    assert kinds(graph_of(forward)) == [Conv, Add]


def test_an_add_that_broadcasts_or_scales_stays_in_torch() -> None:
    assert kinds(graph_of(lambda net, x: net.conv1(x) + x.mean())) == [Conv, TorchNode, TorchNode]
    assert kinds(graph_of(lambda net, x: torch.add(net.conv1(x), x, alpha=2))) == [Conv, TorchNode]


def test_pooling_of_2x2_pixels_is_known_and_of_1x1_pixels_vanishes() -> None:
    pool = nn.functional.avg_pool2d
    assert kinds(graph_of(lambda net, x: pool(net.conv1(x), 2))) == [Conv, Pool]
    assert kinds(graph_of(lambda net, x: pool(net.conv1(x), 1))) == [Conv]


def test_other_pooling_stays_in_torch() -> None:
    pool = nn.functional.avg_pool2d
    others: list[Callable[[Net, Tensor], object]] = [
        lambda net, x: pool(net.conv1(x), 3),
        lambda net, x: pool(net.conv1(x), 2, stride=1),
        lambda net, x: pool(net.conv1(x), 2, padding=1),
        lambda net, x: pool(net.conv1(x), 2, ceil_mode=True),
        lambda net, x: nn.functional.max_pool2d(net.conv1(x), 2),
    ]
    for forward in others:
        assert kinds(graph_of(forward))[-1] is TorchNode


def test_dropout_in_eval_mode_vanishes() -> None:
    dropout = nn.functional.dropout
    assert kinds(graph_of(lambda net, x: dropout(net.conv1(x), training=False))) == [Conv]
