"""Reads a torch.export program into the engine's graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, fx
from torch.export import ExportedProgram

from sparse_ovs.engine.graph import (
    Activation,
    Add,
    Attention,
    BatchNorm,
    Conv,
    Graph,
    LayerNorm,
    Mean,
    Node,
    Pool,
    Ref,
    Scale,
    Shift,
    TorchNode,
    Tokens,
)
from sparse_ovs.engine.values import Mapped, Values, along_axes

aten = torch.ops.aten

# Each takes the fx node and its arguments and gives what the node stands for, or None where the engine
# knows no step for such arguments.
_Handler = Callable[["_Importer", fx.Node, tuple[Any, ...], dict[str, Any]], Any]
_HANDLERS: dict[Any, _Handler] = {}


def import_program(program: ExportedProgram) -> Graph:
    """The graph of a program with one tensor (N, C, H, W) as its input.

    Raises:
        ValueError: the program takes another number of inputs.
    """
    inputs = program.graph_signature.user_inputs
    if len(inputs) != 1 or not isinstance(inputs[0], str):
        raise ValueError(f"expected a model with one tensor as its input, got {len(inputs)} inputs")
    return _Importer(program, inputs[0]).run()


class _Importer:
    def __init__(self, program: ExportedProgram, input_name: str) -> None:
        self.program = program
        self.graph = Graph(input_name)
        self.values = Values(self.graph)
        # What each fx node stands for now: a constant, the name of a value, or a view of a map.
        self.known: dict[fx.Node, Any] = {}

    def run(self) -> Graph:
        constants = _constants(self.program)
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                is_input = node.name == self.graph.input
                self.known[node] = (
                    self.values.add_input(node.name, _shape(node))
                    if is_input
                    else constants[node.name]
                )
            elif node.op == "output":
                results = [self.values.cropped(self.known[result]) for result in node.args[0]]
                shapes = [_shape(result) for result in node.args[0]]
                self.graph.outputs = [
                    self.values.as_tensor(value, shape).name
                    for value, shape in zip(results, shapes, strict=True)
                ]
            elif node.target is not aten._assert_tensor_metadata.default:
                self.known[node] = self._value(node)
                if _writes_in_place(node.target):
                    # From here on the argument is the result.
                    self.known[node.args[0]] = self.known[node]
        return self.graph

    def add(self, node: Node, like: Mapped | None = None) -> Mapped:
        """Puts a node into the graph; its value is laid out as `like`, or as a map."""
        return self.values.add(node, like)

    def _value(self, node: fx.Node) -> Any:
        args = fx.map_arg(node.args, lambda n: self.known[n])
        kwargs = fx.map_arg(node.kwargs, lambda n: self.known[n])
        if _is_constant(node, (args, kwargs)):
            return node.target(*args, **kwargs)
        handler = _HANDLERS.get(node.target)
        value = None if handler is None else handler(self, node, args, kwargs)
        return self._in_torch(node) if value is None else value

    def _in_torch(self, node: fx.Node) -> Any:
        """The operation stays what it is, on torch tensors."""

        def as_tensor(source: fx.Node) -> Any:
            known = self.known[source]
            return self.values.as_tensor(known, _shape(source)) if _is_value(known) else known

        args, kwargs = fx.map_arg(node.args, as_tensor), fx.map_arg(node.kwargs, as_tensor)
        made = TorchNode(node.name, node.target, args, kwargs, _shape(node))
        return self.values.add_torch(made)


def _constants(program: ExportedProgram) -> dict[str, Tensor]:
    signature = program.graph_signature
    found: dict[str, Tensor] = {}
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for placeholder, name in named.items():
        value = program.state_dict.get(name, program.constants.get(name))
        assert isinstance(value, Tensor)
        found[placeholder] = value.detach()
    for placeholder, name in signature.inputs_to_lifted_tensor_constants.items():
        value = program.constants[name]
        assert isinstance(value, Tensor)
        found[placeholder] = value.detach()
    return found


def _handles(*targets: Any) -> Callable[[_Handler], _Handler]:
    def register(handler: _Handler) -> _Handler:
        _HANDLERS.update(dict.fromkeys(targets, handler))
        return handler

    return register


# Convolutions and what follows them -----------------------------------------------------------------


@_handles(aten.conv2d.default)
def _conv2d(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    defaults = (None, (1, 1), (0, 0), (1, 1), 1)
    x, weight, bias, stride, padding, dilation, groups = (*args, *defaults[len(args) - 2 :])
    image = importer.values.as_image(x, _shape(node.args[0]))
    if kwargs or image is None or not _is_float_weight(weight) or not _is_optional_tensor(bias):
        return None
    pairs = [tuple(p) if len(p) == 2 else (p[0], p[0]) for p in (stride, padding, dilation)]
    conv = Conv(node.name, image.name, weight, bias, pairs[0], pairs[1], pairs[2], groups)
    return importer.add(conv)


@_handles(aten.batch_norm.default)
def _batch_norm(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    image = importer.values.as_image(args[0], _shape(node.args[0]))
    if image is None or args[5] or not all(isinstance(a, Tensor) for a in args[1:5]):
        return None
    return importer.add(BatchNorm(node.name, image.name, *args[1:5], args[7]))


@_handles(aten.avg_pool2d.default)
def _avg_pool2d(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    if _pools(args[1:], 1):
        return args[0]
    image = importer.values.as_image(args[0], _shape(node.args[0]))
    if image is None or not _pools(args[1:], 2):
        return None
    return importer.add(Pool(node.name, image.name))


def _pools(options: tuple[Any, ...], size: int) -> bool:
    """Options of an avg_pool2d: a mean over size x size pixels with that stride, nothing else."""
    names = ("kernel", "stride", "padding", "ceil", "count", "divisor")
    given = dict(zip(names, options, strict=False))
    same = ([size], [size, size])
    return (
        list(given["kernel"]) in same
        and list(given.get("stride") or given["kernel"]) in same
        and not any(given.get("padding", ()))
        and not given.get("ceil", False)
        and given.get("divisor") is None
    )


# Functions of single numbers ------------------------------------------------------------------------


@_handles(aten.relu.default, aten.relu_.default)
def _relu(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    return _activation(importer, node, args[0], "relu")


@_handles(aten.gelu.default, aten.gelu_.default)
def _gelu(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    tanh = kwargs.get("approximate", "none") == "tanh"
    return _activation(importer, node, args[0], "gelu_tanh" if tanh else "gelu")


def _activation(importer: _Importer, node: fx.Node, x: Any, kind: str) -> Any:
    mapped = importer.values.whole(x, _shape(node))
    if mapped is None:
        return None
    return importer.add(Activation(node.name, mapped.name, kind), mapped)


@_handles(aten.dropout.default, aten.dropout_.default)
def _dropout(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    return None if args[2] else args[0]


@_handles(aten.add.Tensor, aten.add_.Tensor)
def _add(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    if kwargs:
        return None
    if any(isinstance(a, Tensor) for a in args):
        x, constant = args if isinstance(args[1], Tensor) else (args[1], args[0])
        return _add_constant(importer, node, x, constant)
    if not all(map(_is_value, args)) or _shape(node.args[0]) != _shape(node.args[1]):
        return None
    left, right = (importer.values.whole(a, _shape(node)) for a in args)
    if left is None or right is None or (left.sizes, left.dims) != (right.sizes, right.dims):
        return None
    return importer.add(Add(node.name, left.name, right.name), left)


def _add_constant(importer: _Importer, node: fx.Node, x: Any, constant: Tensor) -> Any:
    mapped = importer.values.whole(x, _shape(node))
    # Only tokens have constants of their own to add it to.
    if mapped is None or not isinstance(importer.graph.node(mapped.name), Tokens):
        return None
    constants = along_axes(mapped, constant)
    if constants is None:
        return None
    return importer.add(Shift(node.name, mapped.name, constants), mapped)


@_handles(aten.mul.Tensor, aten.mul_.Tensor)
def _mul(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    if any(isinstance(a, Tensor) for a in args):
        x, constant = args if isinstance(args[1], Tensor) else (args[1], args[0])
        mapped = importer.values.whole(x, _shape(node))
        constants = None if mapped is None else along_axes(mapped, constant)
        if mapped is None or constants is None or bool((constants != constants[:1]).any()):
            return None
        return importer.add(Scale(node.name, mapped.name, constants[0]), mapped)
    for x, gate in ((0, 1), (1, 0)):
        if _is_quick_gate(node.args[gate], node.args[x]):
            return _activation(importer, node, args[x], "quick_gelu")
    return None


def _is_quick_gate(gate: Any, x: Any) -> bool:
    """sigmoid(1.702 x)"""
    if not isinstance(gate, fx.Node) or gate.target is not aten.sigmoid.default:
        return False
    inner = gate.args[0]
    return (
        isinstance(inner, fx.Node)
        and inner.target is aten.mul.Tensor
        and set(inner.args) == {x, 1.702}
    )


# Linear layers, norms and attention -----------------------------------------------------------------


@_handles(aten.linear.default)
def _linear(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, weight, bias = args if len(args) == 3 else (*args, None)
    return _pointwise(importer, node, x, weight, bias)


@_handles(aten.matmul.default, aten.mm.default)
def _matmul(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, matrix = args
    if not isinstance(matrix, Tensor) or matrix.dim() != 2:
        return None
    return _pointwise(importer, node, x, matrix.T.contiguous(), None)


def _pointwise(importer: _Importer, node: fx.Node, x: Any, weight: Any, bias: Any) -> Any:
    if not _is_float_weight(weight) or not _is_optional_tensor(bias):
        return None
    tokens = importer.values.as_tokens(x, _shape(node.args[0]))
    if tokens is None:
        return None
    kernel = weight[:, :, None, None]
    conv = Conv(node.name, tokens.name, kernel, bias, (1, 1), (0, 0), (1, 1), 1)
    return importer.add(conv, tokens)


@_handles(aten.layer_norm.default)
def _layer_norm(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, normalised, gamma, beta, eps = (*args, *(None, None, 1e-5)[len(args) - 2 :])[:5]
    if not isinstance(x, Mapped) or len(normalised) != 1:
        return None
    tokens = importer.values.as_tokens(x, _shape(node))
    if tokens is None or not _is_optional_tensor(gamma) or not _is_optional_tensor(beta):
        return None
    return importer.add(LayerNorm(node.name, tokens.name, gamma, beta, eps), tokens)


@_handles(aten.scaled_dot_product_attention.default)
def _attention(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    scale = kwargs.get("scale")
    if len(args) > 3 or set(kwargs) - {"scale"} or not all(isinstance(a, Mapped) for a in args):
        return None
    heads, depth = _shape(node.args[0])[-3::2]
    if len(_shape(node)) != 4 or not all(a.is_heads(heads, depth) for a in args):
        return None
    query, key, value = args
    if (key.sizes[2:], key.sizes[0]) != (value.sizes[2:], value.sizes[0]):
        return None
    names = (query.name, key.name, value.name)
    first = (query.dims.start("c"), key.dims.start("c"), value.dims.start("c"))
    scale = depth**-0.5 if scale is None else scale
    attention = Attention(node.name, *names, first, heads, depth, scale)
    made = importer.add(attention)
    return made.viewed_as_heads(heads, depth)


# Tokens ---------------------------------------------------------------------------------------------


@_handles(aten.mean.dim)
def _mean(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, dims, keep = args if len(args) == 3 else (*args, False)
    mapped = importer.values.whole(x, _shape(node.args[0]))
    if mapped is None or kwargs or not keep:
        return None
    over = {d % len(mapped.dims.factors) for d in dims}
    averaged = [f.axis for d in over for f in mapped.dims.factors[d]]
    left = [f.axis for d, dim in enumerate(mapped.dims.factors) if d not in over for f in dim]
    if set(averaged) != {"p"} or "p" in left:
        return None
    made = importer.add(Mean(node.name, mapped.name))
    return made.viewed_like(mapped, _shape(node))


@_handles(aten.cat.default)
def _cat(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    parts, dim = args if len(args) == 2 else (*args, 0)
    if len(parts) != 2 or kwargs:
        return None
    before, pixels = parts[0], importer.values.whole(parts[1], _shape(node.args[0][1]))
    if pixels is None or not isinstance(before, (Tensor, Mapped)):
        return None
    dim %= len(pixels.dims.factors)
    if not pixels.dims.is_run(dim, "p"):
        return None
    n, c, h, w = pixels.sizes
    count = _shape(node)[dim] - h * w
    constants = torch.zeros(h * w + count, c)
    is_mean = False
    if isinstance(before, Tensor):
        own = along_axes(pixels.with_pixels(dim, count), before)
        if own is None:
            return None
        constants[:count] = own
    else:
        mean = importer.graph.node(before.name)
        is_mean = isinstance(mean, Mean) and mean.source == pixels.name
        if not is_mean or before.dims != pixels.with_pixels(dim, 1).dims:
            return None
    tokens = importer.add(Tokens(node.name, pixels.name, constants, is_mean))
    return tokens.viewed_as(pixels.with_pixels(dim, h * w + count).dims)


# Views ----------------------------------------------------------------------------------------------


@_handles(
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.contiguous.default,
    aten.detach.default,
)
def _view(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    if not isinstance(args[0], Mapped):
        return None
    dims = args[0].dims.view(_shape(node))
    return None if dims is None else args[0].viewed_as(dims)


@_handles(aten.to.dtype, aten.expand.default)
def _same(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    old, new = node.args[0].meta["val"], node.meta["val"]
    return args[0] if (old.shape, old.dtype) == (new.shape, new.dtype) and not kwargs else None


@_handles(aten.permute.default)
def _permute(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    return _permuted(args[0], list(args[1]))


@_handles(aten.transpose.int)
def _transpose(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    order = list(range(len(_shape(node))))
    order[args[1]], order[args[2]] = order[args[2]], order[args[1]]
    return _permuted(args[0], order)


def _permuted(x: Any, order: list[int]) -> Any:
    return x.viewed_as(x.dims.permute(order)) if isinstance(x, Mapped) else None


@_handles(aten.select.int)
def _select(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, dim, index = args
    if not isinstance(x, Mapped):
        return None
    size = x.dims.shape()[dim]
    one = x.dims.narrow(dim % len(x.dims.factors), index % size, 1)
    dims = None if one is None else one.view(_shape(node))
    return None if dims is None else x.viewed_as(dims)


@_handles(aten.slice.Tensor)
def _slice(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, dim, start, _, step = (*args, *(0, None, None, 1)[len(args) - 1 :])
    if not isinstance(x, Mapped) or step != 1:
        return None
    size = x.dims.shape()[dim]
    start = min(max(0, start + size if (start or 0) < 0 else start or 0), size)
    dims = x.dims.narrow(dim % len(x.dims.factors), start, _shape(node)[dim])
    return None if dims is None else x.viewed_as(dims)


@_handles(aten.chunk.default, aten.split.Tensor)
def _chunk(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, dim = args[0], args[2] if len(args) > 2 else 0
    if not isinstance(x, Mapped):
        return None
    parts, start = [], 0
    for part in node.meta["val"]:
        dims = x.dims.narrow(dim % len(x.dims.factors), start, part.shape[dim])
        if dims is None:
            return None
        parts.append(x.viewed_as(dims))
        start += part.shape[dim]
    return tuple(parts)


@_handles(operator.getitem)
def _getitem(importer: _Importer, node: fx.Node, args: Any, kwargs: Any) -> Any:
    return args[0][args[1]] if isinstance(args[0], (tuple, list)) else None


# What nodes are -------------------------------------------------------------------------------------


def _shape(node: Any) -> tuple[int, ...]:
    made = node.meta.get("val") if isinstance(node, fx.Node) else None
    return tuple(made.shape) if isinstance(made, Tensor) else ()


def _is_value(known: Any) -> bool:
    return isinstance(known, (Mapped, Ref))


def _is_float_weight(weight: Any) -> bool:
    return isinstance(weight, Tensor) and weight.dtype == torch.float32


def _is_optional_tensor(value: Any) -> bool:
    return value is None or isinstance(value, Tensor)


def _is_constant(node: fx.Node, arguments: Any) -> bool:
    """A pure function of constants alone."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) and target is not operator.getitem:
        return False
    tags = getattr(target, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags or _writes_in_place(target):
        return False
    found: list[Any] = []
    pytree.tree_map(found.append, arguments)
    return not any(map(_is_value, found))


def _writes_in_place(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.arguments:
        return False
    alias = schema.arguments[0].alias_info
    return alias is not None and alias.is_write
