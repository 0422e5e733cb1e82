"""A module that computes as its int8 encoder will, in floats through which gradients pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.engine import Quantization
from sparse_ovs.engine.export import export_graph, trace
from sparse_ovs.engine.graph import Conv, Graph, Node, Pool, Quant
from sparse_ovs.engine.in_torch import rounded, rounded_averages, run_in_torch
from sparse_ovs.engine.int8 import to_int8
from sparse_ovs.engine.records import step_labels
from sparse_ovs.engine.weights import NativeConvWeights, integer_weight
from sparse_ovs.formats import pack
from sparse_ovs.nn.named_weights import weight_owners
from sparse_ovs.nn.plain import plain_copy
from sparse_ovs.quantization.ranges import weight_scales
from sparse_ovs.quantization.rounding_sites import RoundingSites, find_sites

# Above this density torch's dense kernels are the faster ones to train with.
_DENSEST = 0.5


class FakeQuantised(nn.Module):
    """Gives a module's outputs as the int8 encoder computes them: weights are rounded to s8 with
    scales of their own at each call, maps to u8 with those of a quantization, wherever a step of
    the plan rounds. Gradients pass as if nothing were rounded (Bengio et al., arXiv 1308.3432: the
    straight-through estimator), and end where a map's number is out of range.

    Args:
        module: of plain torch modules, in eval mode; its parameters are used as they are at each
            call, and learn.
        quantization: of the module.
        masks: bool by the module's own names (see `weight_owners`): layers that are mostly pruned
            run forward and backward by sparse kernels.

    Raises:
        ValueError: at a call: the quantization is of another module.
    """

    def __init__(
        self, module: nn.Module, quantization: Quantization, masks: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.module, self._quantization = module, quantization
        self._graphs: dict[tuple[int, ...], tuple[Graph, RoundingSites]] = {}
        owners = weight_owners(module)
        self._masks = {
            getattr(owner, name).data_ptr(): masks[layer]
            for layer, (owner, name) in owners.items()
            if layer in masks and float(masks[layer].float().mean()) <= _DENSEST
        }
        self._packed: dict[int, _Structure] = {}

    def forward(self, x: Tensor) -> list[Tensor]:
        """The outputs as a list, for input like the module's."""
        graph, sites = self._graph(x)
        values: dict[str, Any] = {graph.input: x}
        left = graph.uses()
        live = {p.data_ptr(): p for p in self.module.parameters()}
        for node in graph.nodes:
            given = {name: values[name] for name in node.sources()}
            for name, quant in sites.inputs.get(node.name, {}).items():
                given[name] = _through(given[name], quant)
            made = self._run(_with_live(node, live), given, node.name in sites.weights)
            if node.name in sites.values:
                made = _through(made, sites.values[node.name], isinstance(node, Pool))
            values[node.name] = made
            for name in node.sources():
                left[name] -= 1
                if left[name] == 0:
                    del values[name]
        return [values[name] for name in graph.outputs]

    def quantization(self, example: Tensor) -> Quantization:
        """That of the module as it is now: the scales of maps that it learned with, and those of
        its weights.

        Args:
            example: input like the module's.
        """
        graph, _ = export_graph(plain_copy(self.module), example)
        labels = step_labels(graph)
        scales = {
            labels[node.name]: weight_scales(node.weight)
            for node in graph.nodes
            if isinstance(node, Conv)
        }
        return replace(self._quantization, weight_scales=scales)

    def _graph(self, x: Tensor) -> tuple[Graph, RoundingSites]:
        shape = tuple(x.shape)
        if shape not in self._graphs:
            example = torch.zeros(shape)
            plain = trace(self.module, example)
            typed, _ = export_graph(plain_copy(self.module), example)
            self._graphs[shape] = plain, find_sites(plain, to_int8(typed, self._quantization))
        return self._graphs[shape]

    def _run(self, node: Node, values: Mapping[str, Any], rounds: bool) -> Any:
        if not isinstance(node, Conv):
            return run_in_torch(node, values, _NONE)
        structure = self._structure(node)
        if rounds:
            node = replace(node, weight=_weight_through(node.weight))
        if structure is None:
            return run_in_torch(node, values, _NONE)
        return structure.conv2d(node, values[node.source])

    def _structure(self, conv: Conv) -> _Structure | None:
        place = conv.weight.data_ptr()
        mask = self._masks.get(place)
        if mask is None:
            return None
        if place not in self._packed:
            self._packed[place] = _Structure.of(conv, mask)
        return self._packed[place]


@dataclass(frozen=True)
class _Structure:
    """A mask as sparse kernels take it."""

    mask: Tensor
    indices: Tensor
    row_ptr: Tensor
    block_rows: int

    @classmethod
    def of(cls, conv: Conv, mask: Tensor) -> _Structure:
        mask = mask.reshape(conv.weight.shape)
        packed = pack(conv.weight.detach().contiguous(), mask, groups=conv.groups)
        return cls(mask, packed.indices, packed.row_ptr, packed.block_rows)

    def conv2d(self, conv: Conv, x: Tensor) -> Tensor:
        return ops.conv2d(
            x,
            conv.weight.contiguous(),
            self.mask,
            conv.bias,
            [],
            None,
            self.indices,
            self.row_ptr,
            self.block_rows,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
        )


_NONE = NativeConvWeights()  # plain graphs have released nothing


def _with_live(node: Node, live: Mapping[int, nn.Parameter]) -> Node:
    """The node with the module's parameters in place of the tensors that are their values."""
    found: dict[str, Any] = {}
    for field in fields(node):
        value = getattr(node, field.name)
        parameter = live.get(value.data_ptr()) if isinstance(value, Tensor) else None
        if parameter is not None and parameter.numel() == value.numel():
            found[field.name] = parameter.reshape(value.shape)
    return replace(node, **found) if found else node


def _through(x: Tensor, quant: Quant, is_average: bool = False) -> Tensor:
    low, high = -quant.zero_point * quant.scale, (255 - quant.zero_point) * quant.scale
    inside = x.clamp(low, high)
    found = (rounded_averages if is_average else rounded)(x.detach(), quant)
    return inside + (found - inside.detach())


def _weight_through(weight: Tensor) -> Tensor:
    plain = weight.detach()
    scales = weight_scales(plain)
    numbers = integer_weight(plain, scales) * scales.reshape(-1, *[1] * (plain.dim() - 1))
    return weight + (numbers - plain)
