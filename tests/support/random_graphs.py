"""Random graphs of what encoders are made of: maps, tokens, views between them, and adds of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

Values = list[Tensor]
Layers = Sequence[nn.Module]
_MOST_CHANNELS = 48
_MOST_NUMBERS = 1 << 15  # of a value


@dataclass(frozen=True)
class Operation:
    """One line of a random program.

    Attributes:
        name: what it is called.
        run: gives its value or values from all values before and the program's layers.
    """

    name: str
    run: Callable[[Values, Layers], object]

    def __repr__(self) -> str:
        return self.name


class RandomGraph(nn.Module):
    """Runs operations one after the other; gives those of its values that `outputs` names."""

    def __init__(
        self, operations: list[Operation], layers: list[nn.Module], outputs: list[int]
    ) -> None:
        super().__init__()
        self.operations = operations
        self.layers = nn.ModuleList(layers)
        self.outputs = outputs

    def forward(self, x: Tensor) -> object:
        values = [x]
        for operation in self.operations:
            made = operation.run(values, self.layers)
            values += made if isinstance(made, (list, tuple)) else [made]
        chosen = [values[i] for i in self.outputs]
        return chosen[0] if len(chosen) == 1 else chosen

    def __repr__(self) -> str:
        return f"{self.operations} -> {self.outputs}"


@st.composite
def random_graphs(draw: st.DrawFn, most: int = 8) -> tuple[RandomGraph, Tensor]:
    """A module in eval mode whose every value is finite, and an input (N, C, H, W)."""
    shape = (
        draw(st.integers(1, 3)),
        draw(st.sampled_from([3, 4, 8, 12])),
        draw(st.sampled_from([1, 2, 4, 5, 8])),
        draw(st.sampled_from([1, 3, 4, 6, 9])),
    )
    torch.manual_seed(draw(st.integers(0, 1000)))
    x = torch.randn(shape)
    build = _Builder(draw, x)
    for _ in range(draw(st.integers(most // 2, most))):
        build.add_operation()
    count = len(build.values)
    # The last values, and now and then one from before: several outputs that others still read.
    outputs = [*range(count - draw(st.integers(1, min(3, max(1, count - 1)))), count)]
    outputs += draw(st.lists(st.integers(0, count - 1), max_size=2))
    model = RandomGraph(build.operations, build.layers, outputs).eval()
    return model, x


class _Builder:
    """Draws operations that fit the values so far, which it computes beside."""

    def __init__(self, draw: st.DrawFn, x: Tensor) -> None:
        self.draw = draw
        self.values: Values = [x]
        self.operations: list[Operation] = []
        self.layers: list[nn.Module] = []

    def add_operation(self) -> None:
        kinds = [self.convolve, self.norm, self.activate, self.view, self.part, self.linear]
        kinds += [self.attend, self.pool, self.join, self.constant]
        # Adds most of all: they are what fusing is about.
        kind = self.draw(st.sampled_from([*kinds, self.linear, *[self.combine] * 4]))
        before = [value.clone() for value in self.values]
        operation = kind()
        if operation is None:
            return
        with torch.no_grad():
            made = operation.run(self.values, self.layers)
        new = list(made) if isinstance(made, (list, tuple)) else [made]
        assert all(isinstance(value, Tensor) for value in new)
        large = any(value.numel() > _MOST_NUMBERS or not value.numel() for value in new)
        if large or not all(bool(value.isfinite().all()) for value in [*new, *self.values]):
            self.values = before
            return
        self.values += new
        self.operations.append(operation)

    def pick(self, fits: Callable[[Tensor], bool] = lambda value: True) -> int | None:
        """The number of a value that fits, mostly one of the last."""
        places = [i for i, value in enumerate(self.values) if fits(value)]
        if not places:
            return None
        return self.draw(st.sampled_from([*places[-2:], *places[-1:], *places]))

    def layer(self, layer: nn.Module) -> int:
        """Keeps a layer, with parameters that all count, and gives its number."""
        for parameter in layer.parameters():
            if parameter.dim() == 1:
                parameter.data = torch.randn(parameter.shape) * 0.5
            if parameter.dim() > 1 and self.draw(st.booleans()):
                parameter.data *= torch.rand(parameter.shape) < 0.4
        self.layers.append(layer.eval())
        return len(self.layers) - 1

    def convolve(self) -> Operation | None:
        i = self.pick(lambda value: value.dim() == 4 and value.shape[1] <= _MOST_CHANNELS)
        if i is None:
            return None
        channels = self.values[i].shape[1]
        kernel, stride = self.draw(st.sampled_from([(1, 1), (1, 1), (3, 1), (3, 2), (2, 2)]))
        if min(self.values[i].shape[2:]) < kernel and kernel == 2:
            return None
        out = self.draw(st.sampled_from([channels, channels, 8, 12]))
        groups = self.draw(st.sampled_from([1, 1, channels]))
        out = channels if groups > 1 else out
        bias = self.draw(st.booleans())
        conv = nn.Conv2d(channels, out, kernel, stride, kernel // 3, groups=groups, bias=bias)
        layer = self.layer(conv)
        return Operation(f"conv{kernel}/{stride}g{groups}({i})", lambda v, net: net[layer](v[i]))

    def norm(self) -> Operation | None:
        i = self.pick(lambda value: value.dim() >= 2)
        if i is None:
            return None
        if self.values[i].dim() == 4 and self.draw(st.booleans()):
            norm = self.layer(nn.BatchNorm2d(self.values[i].shape[1]))
            return Operation(f"batch_norm({i})", lambda v, net: net[norm](v[i]))
        if self.values[i].shape[-1] < 3:
            return None
        norm = self.layer(nn.LayerNorm(self.values[i].shape[-1]))
        return Operation(f"layer_norm({i})", lambda v, net: net[norm](v[i]))

    def activate(self) -> Operation | None:
        i = self.pick()
        kinds: dict[str, Callable[[Tensor], Tensor]] = {
            "relu": F.relu,
            "gelu": F.gelu,
            "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
            "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
            "sigmoid": torch.sigmoid,
            "silu": F.silu,
            "relu_": lambda x: x.relu_(),
            "silu_": lambda x: F.silu(x, inplace=True),
        }
        name = self.draw(st.sampled_from([*kinds, "relu", "gelu"]))
        # A write to the input, or to memory that views share, is a graph as good as another.
        return Operation(f"{name}({i})", lambda v, _: kinds[name](v[i]))

    def view(self) -> Operation | None:
        i = self.pick(lambda value: value.dim() >= 2)
        if i is None:
            return None
        value = self.values[i]
        kinds = ["transpose", "permute", "flatten", "unflatten", "to_tokens", "to_map"]
        kind = self.draw(st.sampled_from([*kinds, "to_tokens", "to_tokens", "to_map"]))
        if kind == "to_tokens" and value.dim() == 4:
            return Operation(f"tokens({i})", lambda v, _: v[i].flatten(2).transpose(1, 2))
        if kind == "to_map" and value.dim() == 3:
            n, pixels, channels = value.shape
            width = self.draw(st.sampled_from([w for w in range(1, pixels + 1) if pixels % w == 0]))
            shape = (n, channels, pixels // width, width)
            return Operation(f"map({i})", lambda v, _: v[i].transpose(1, 2).reshape(shape))
        if kind == "permute" or (kind == "to_map" and value.dim() == 4):
            order = self.draw(st.permutations(range(value.dim())))
            return Operation(f"permute({i}, {order})", lambda v, _: v[i].permute(order))
        if kind == "flatten":
            first = self.draw(st.integers(0, value.dim() - 2))
            return Operation(f"flatten({i}, {first})", lambda v, _: v[i].flatten(first, first + 1))
        if kind == "unflatten" and value.dim() < 5:
            dim = self.draw(st.integers(0, value.dim() - 1))
            size = value.shape[dim]
            inner = self.draw(st.sampled_from([s for s in range(1, size + 1) if size % s == 0]))
            sizes = (size // inner, inner)
            return Operation(f"unflatten({i}, {dim})", lambda v, _: v[i].unflatten(dim, sizes))
        a, b = (self.draw(st.integers(0, value.dim() - 1)) for _ in range(2))
        return Operation(f"transpose({i}, {a}, {b})", lambda v, _: v[i].transpose(a, b))

    def part(self) -> Operation | None:
        i = self.pick(lambda value: value.dim() >= 2)
        if i is None:
            return None
        dim = self.draw(st.integers(0, self.values[i].dim() - 1))
        size = self.values[i].shape[dim]
        kind = self.draw(st.sampled_from(["slice", "select", "chunk", "step", "split"]))
        if kind == "slice":
            first = self.draw(st.integers(0, size - 1))
            last = self.draw(st.integers(first + 1, size))
            return Operation(f"slice({i})", lambda v, _: v[i].narrow(dim, first, last - first))
        if kind == "select":
            place = self.draw(st.integers(-size, size - 1))
            return Operation(f"select({i}, {dim})", lambda v, _: v[i].select(dim, place))
        if kind == "chunk":
            return Operation(f"chunk({i}, {dim})", lambda v, _: v[i].chunk(2, dim))
        if kind == "split":
            sizes = [1, size - 1] if size > 1 else [1]
            return Operation(f"split({i}, {dim})", lambda v, _: v[i].split(sizes, dim))
        every = self.draw(st.integers(2, 3))
        index = tuple([slice(None)] * dim + [slice(None, None, every)])
        return Operation(f"every{every}({i}, {dim})", lambda v, _: v[i][index])

    def linear(self) -> Operation | None:
        i = self.pick(lambda value: value.dim() >= 2 and value.shape[-1] <= _MOST_CHANNELS)
        if i is None:
            return None
        channels = self.values[i].shape[-1]
        out = self.draw(st.sampled_from([channels, channels, channels, 8]))
        layer = self.layer(nn.Linear(channels, out, bias=self.draw(st.booleans())))
        return Operation(f"linear{out}({i})", lambda v, net: net[layer](v[i]))

    def attend(self) -> Operation | None:
        i = self.pick(lambda value: value.dim() == 3 and value.shape[-1] % 4 == 0)
        if i is None:
            return None
        channels = self.values[i].shape[-1]
        if self.draw(st.booleans()):
            attention = self.layer(nn.MultiheadAttention(channels, 2, batch_first=True))
            j = self.pick(
                lambda value: (
                    value.dim() == 3
                    and (value.shape[0], value.shape[2]) == (self.values[i].shape[0], channels)
                )
            )
            return Operation(
                f"attention({i}, {j})",
                lambda v, net: net[attention](v[i], v[j], v[j], need_weights=False)[0],  # type: ignore[index]
            )

        projection = self.layer(nn.Linear(channels, 3 * channels))

        def attend(v: Values, net: Layers) -> Tensor:
            n, tokens, _ = v[i].shape
            qkv = (
                net[projection](v[i]).reshape(n, tokens, 3, 2, channels // 2).permute(2, 0, 3, 1, 4)
            )
            y = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
            return y.transpose(1, 2).reshape(n, tokens, channels)

        return Operation(f"self_attention({i})", attend)

    def pool(self) -> Operation | None:
        kind = self.draw(st.sampled_from(["mean", "avg2", "max3", "adaptive"]))
        if kind == "mean":
            i = self.pick()
            assert i is not None
            dims = self.draw(
                st.lists(st.integers(0, self.values[i].dim() - 1), min_size=1, unique=True)
            )
            keep = self.draw(st.booleans())
            if not self.values[i].dim():
                return None
            return Operation(f"mean({i}, {dims})", lambda v, _: v[i].mean(dims, keepdim=keep))
        i = self.pick(lambda value: value.dim() == 4)
        if i is None:
            return None
        if kind == "avg2" and min(self.values[i].shape[2:]) >= 2:
            return Operation(f"avg_pool({i})", lambda v, _: F.avg_pool2d(v[i], 2))
        if kind == "adaptive":
            return Operation(f"adaptive_pool({i})", lambda v, _: F.adaptive_avg_pool2d(v[i], 1))
        return Operation(f"max_pool({i})", lambda v, _: F.max_pool2d(v[i], 3, 1, 1))

    def join(self) -> Operation | None:
        i = self.pick(lambda value: value.dim() >= 2)
        if i is None:
            return None
        dim = self.draw(st.integers(0, self.values[i].dim() - 1))

        def fits(value: Tensor) -> bool:
            own, other = list(self.values[i].shape), list(value.shape)
            if len(own) != len(other):
                return False
            own[dim] = other[dim] = 0
            return own == other

        if self.draw(st.booleans()):
            shape = list(self.values[i].shape)
            shape[dim] = 1
            before = torch.randn(shape)
            return Operation(f"cat(constant, {i})", lambda v, _: _cat(before, v[i], dim))
        j = self.pick(fits)
        assert j is not None
        return Operation(f"cat({i}, {j}, {dim})", lambda v, _: torch.cat([v[i], v[j]], dim))

    def constant(self) -> Operation | None:
        i = self.pick(lambda value: value.dim() >= 2)
        if i is None:
            return None
        shape = [s if self.draw(st.booleans()) else 1 for s in self.values[i].shape]
        constant = torch.randn(shape)
        adds = self.draw(st.booleans())
        return Operation(
            f"{'add' if adds else 'scale'}_constant({i}, {shape})",
            lambda v, _: v[i] + constant.to(v[i]) if adds else v[i] * constant.to(v[i]),
        )

    def combine(self) -> Operation | None:
        """Adds two values of one shape; where there is none, a value and a function of it."""
        i = self.pick()
        assert i is not None
        shape = self.values[i].shape
        j = self.pick(lambda value: value.shape == shape)
        kind = self.draw(st.sampled_from(["add", "add", "add", "add_", "mul"]))
        if i == j and len(shape) >= 2 and shape[-1] <= _MOST_CHANNELS:
            layer = self.layer(nn.Linear(shape[-1], shape[-1]))
            return Operation(f"residual({i})", lambda v, net: v[i] + net[layer](v[i]))
        if kind == "add_":
            return Operation(f"add_({i}, {j})", lambda v, _: v[i].add_(v[j]))
        if kind == "mul":
            return Operation(f"mul({i}, {j})", lambda v, _: v[i] * v[j])
        return Operation(f"add({i}, {j})", lambda v, _: v[i] + v[j])


def _cat(before: Tensor, value: Tensor, dim: int) -> Tensor:
    return torch.cat([before.to(value), value], dim)
