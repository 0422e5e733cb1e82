"""The layers of a module that are compressed: where their weights are, and what follows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.compression.matrices import as_matrices
from sparse_ovs.engine.graph import BatchNorm, Conv, Graph, Scale
from sparse_ovs.nn.eligible import candidates
from sparse_ovs.nn.named_weights import named_weights, weight_owners


@dataclass(frozen=True)
class Layer:
    """A convolution, linear layer or projection of an attention, all of them convolutions of maps
    in the traced graph. Its tensors are the module's own: to write them changes the module.

    Attributes:
        name: as masks call it.
        conv: in the graph.
        after: a BatchNorm or a factor by channel that alone reads it; None: neither.
        pixels: how often one image uses each weight.
    """

    name: str
    conv: Conv
    after: BatchNorm | Scale | None
    weight: Tensor
    pixels: int

    @property
    def macs(self) -> int:
        """Of one image, dense."""
        return self.weight.numel() * self.pixels

    def row_scale(self) -> Tensor:
        """(O,): what follows multiplies its outputs by it, so errors count that much."""
        if isinstance(self.after, BatchNorm):
            return self.after.gamma / (self.after.var + self.after.eps).sqrt()
        if isinstance(self.after, Scale):
            return self.after.factor
        return torch.ones(self.conv.weight.shape[0])

    def folded(self) -> Tensor:
        """(groups, rows, columns): its weights times `row_scale`."""
        return as_matrices(self._scaled(), self.conv.groups)

    def stand_in(self) -> nn.Conv2d:
        """A convolution of these weights, for maps as the graph's."""
        conv = self.conv
        out, columns, *kernel = conv.weight.shape
        made = nn.Conv2d(
            columns * conv.groups,
            out,
            (kernel[0], kernel[1]),
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            bias=False,
            device="meta",
        )
        made.weight = nn.Parameter(self._scaled(), requires_grad=False)
        return made

    @property
    def takes_shift(self) -> bool:
        """Whether a mean can be corrected: by its bias or by BatchNorm's."""
        return isinstance(self.after, BatchNorm) or self.conv.bias is not None

    def shift(self) -> Tensor:
        """The bias that a mean is corrected through."""
        if isinstance(self.after, BatchNorm):
            return self.after.beta
        assert self.conv.bias is not None
        return self.conv.bias

    def as_shift(self, change: Tensor) -> Tensor:
        """A change (O,) of the outputs times `row_scale`, as one of `shift`."""
        return change if isinstance(self.after, BatchNorm) else _unscaled(change, self.row_scale())

    def unfolded(self, weight: Tensor) -> Tensor:
        """Weights of the module's shape from ones times `row_scale`, of the graph's shape. Rows
        that nothing sees stay as they are where they are kept."""
        scale = self.row_scale().reshape(-1, 1, 1, 1)
        plain = _unscaled(weight, scale)
        # A weight that is pruned is exactly 0.
        kept = torch.where(scale == 0, self.conv.weight, plain)
        return kept.reshape(self.weight.shape)

    def _scaled(self) -> Tensor:
        return self.conv.weight * self.row_scale().reshape(-1, 1, 1, 1)


def find_layers(
    module: nn.Module, graph: Graph, example: Tensor, exclude: Sequence[str] = ()
) -> list[Layer]:
    """Layers that can be compressed, in the order in which they run: a backbone's scope, or of
    other modules what sparsify would swap.

    Args:
        graph: of the module, see `engine.export.trace`.
        example: that it was traced for.
        exclude: names or patterns of layers that are left out.

    Raises:
        ValueError: a pattern that fits no layer, or no layers at all.
    """
    owners = weight_owners(module)
    named = {
        weight.data_ptr(): (name, weight)
        for name, (owner, parameter) in owners.items()
        for weight in [getattr(owner, parameter)]
    }
    convs = [node for node in graph.nodes if isinstance(node, Conv)]
    uses = Counter(conv.weight.data_ptr() for conv in convs)
    shapes: dict[str, tuple[int, ...]] = {graph.input: tuple(example.shape)}
    wanted = _scope(module)
    found: list[Layer] = []
    for node in graph.nodes:
        shapes[node.name] = node.out_shape(shapes)
        if not isinstance(node, Conv) or node.weight.data_ptr() not in named:
            continue
        name, weight = named[node.weight.data_ptr()]
        # A part of a weight, or one that runs twice, is left dense.
        whole = weight.numel() == node.weight.numel() and uses[weight.data_ptr()] == 1
        if name in wanted and whole:
            n, _, height, width = shapes[node.name]
            pixels = n * height * width // len(example)
            found.append(Layer(name, node, _after(graph, node), weight.detach(), pixels))
    for pattern in exclude:
        if not any(fnmatchcase(layer.name, pattern) for layer in found):
            raise ValueError(f"expected layers to exclude, got {pattern!r}, which fits none")
    kept = [layer for layer in found if not any(fnmatchcase(layer.name, p) for p in exclude)]
    if not kept:
        raise ValueError("expected a module with layers to compress, got none")
    return kept


@torch.no_grad()
def zero_outside(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Makes the weights outside the masks zero, in place.

    Args:
        masks: bool by the module's own names (see `weight_owners`).
    """
    owners = weight_owners(module)
    for name, mask in masks.items():
        owner, parameter = owners[name]
        getattr(owner, parameter).masked_fill_(~mask, 0.0)


def _scope(module: nn.Module) -> Collection[str]:
    """Names of the masks that may be."""
    if isinstance(module, Backbone):
        return set(named_weights(module, module.scope()))
    layers = [each.name for each in candidates(module) if not each.reason]
    return set(named_weights(module, layers))


def _after(graph: Graph, conv: Conv) -> BatchNorm | Scale | None:
    if graph.uses()[conv.name] != 1:
        return None
    reader = next((node for node in graph.nodes if conv.name in node.sources()), None)
    return reader if isinstance(reader, (BatchNorm, Scale)) else None


def _unscaled(value: Tensor, scale: Tensor) -> Tensor:
    return torch.where(
        scale == 0, torch.zeros_like(value), value / torch.where(scale == 0, 1, scale)
    )
