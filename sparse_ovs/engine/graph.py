"""The engine's graph: a list of typed operations over named values, in an order that runs.

Values are float32 maps (N, C, H, W), or u8 ones where their node has a Quant, or bf16 ones where it
says so, unless one of the nodes of torch_nodes makes or reads them otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from sparse_ovs.conv_size import output_size

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Quant:
    """What an integer of a u8 map stands for: scale * (integer - zero_point).

    Attributes:
        scale: above 0, a float32.
        zero_point: 0 to 255; stands for 0, exactly.
    """

    scale: float
    zero_point: int


@dataclass
class Node:
    """One operation; `name` is also the name of the value that it makes.

    Attributes:
        layer: qualified name of the module that it comes from; "" for the encoder itself.
        quant: of its value where that is u8; None where it is float32.
        bf16: its value is bf16.
        note: why it runs in float32 inside an int8 or bf16 encoder; "" where nobody asked for one.
    """

    name: str
    layer: str = field(default="", kw_only=True)
    quant: Quant | None = field(default=None, kw_only=True)
    bf16: bool = field(default=False, kw_only=True)
    note: str = field(default="", kw_only=True)

    # It serves only the size of input that was exported.
    holds_size: ClassVar[bool] = False
    # What the library's records call it; "" where the library has no such operation.
    op: ClassVar[str] = ""

    def sources(self) -> list[str]:
        """Names of the values that it reads."""
        raise NotImplementedError

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """The shape of its value, given those of its sources; by default that of the first."""
        return shapes[self.sources()[0]]

    def rename(self, old: str, new: str) -> None:
        """Makes it read the value `new` wherever it reads `old`."""
        raise NotImplementedError

    def is_native(self) -> bool:
        """The library has an operation for it."""
        return bool(self.op)

    def inputs(self) -> list[str]:
        """Names of the values that its record reads, in the library's order."""
        return self.sources()

    def members(self) -> dict[str, Any]:
        """What its record says beside its op, name and inputs."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """float32 tensors of its record, by part; a convolution's weights are not among them."""
        return {}


@dataclass
class Unary(Node):
    """An operation that reads one value."""

    source: str

    def sources(self) -> list[str]:
        return [self.source]

    def rename(self, old: str, new: str) -> None:
        if self.source == old:
            self.source = new


@dataclass
class Summing(Unary):
    """An operation that may add another value to what it makes.

    Attributes:
        residual: name of that value, of the output's shape, or None.
    """

    residual: str | None = field(default=None, kw_only=True)

    def is_plain(self) -> bool:
        """Its value is what it makes itself: no residual is added."""
        return self.residual is None

    def sources(self) -> list[str]:
        return [self.source] + ([] if self.residual is None else [self.residual])

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        if self.residual == old:
            self.residual = new


@dataclass
class Conv(Summing):
    """activation(conv2d(source, weight) + bias [+ residual]); a linear layer is a 1x1 one.

    Attributes:
        weight: (O, I / groups, kh, kw) float32, zeros in place.
        bias: (O,) or None.
        stride, padding, dilation: (vertical, horizontal).
        activation: one of `_native.ACTIVATIONS`.
        weight_scales: (O,) where it computes with s8 weights: of weight / scale, rounded.
        own_scales: (O,) where a quantised model brings s8 weights: weight / scale is whole.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    activation: str = "none"
    weight_scales: Tensor | None = None
    own_scales: Tensor | None = None
    op = "conv2d"

    def members(self) -> dict[str, Any]:
        return {
            "stride": list(self.stride),
            "padding": list(self.padding),
            "dilation": list(self.dilation),
            "groups": self.groups,
            "activation": None if self.activation == "none" else self.activation,
            "weight": {"shape": list(self.weight.shape)},
        }

    def is_plain(self) -> bool:
        """Its value is the convolution's sums: no residual, no activation."""
        return self.activation == "none" and super().is_plain()

    def scale_rows(self, factor: Tensor) -> None:
        """Multiplies the weights of each output channel by its factor (O,)."""
        self.weight = self.weight * factor[:, None, None, None]
        if self.own_scales is not None:
            scales = self.own_scales * factor.abs()
            self.own_scales = scales.where(scales > 0, 1.0)

    def is_pointwise(self) -> bool:
        """Each pixel of the output is made of the same pixel of the input."""
        plain = self.weight.shape[2:] == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0)
        return plain and self.groups == 1

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, O, H', W')."""
        shape = shapes[self.source]
        how = (self.stride, self.padding, self.dilation)
        return shape[0], self.weight.shape[0], *output_size(shape[2:], self.weight.shape[2:], *how)


@dataclass
class Pad(Unary):
    """Zeros around each channel; gone once joined to a convolution.

    Attributes:
        rows, columns: of zeros, (before, after).
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, C, H + rows, W + columns)."""
        n, c, h, w = shapes[self.source]
        return n, c, h + sum(self.rows), w + sum(self.columns)


@dataclass
class BatchNorm(Unary):
    """A BatchNorm in eval mode; gone once folded."""

    gamma: Tensor
    beta: Tensor
    mean: Tensor
    var: Tensor
    eps: float


@dataclass
class Activation(Unary):
    """A function of each number: one of `_native.ACTIVATIONS`."""

    kind: str


@dataclass
class Scale(Unary):
    """Multiplies channel i by factor[i]."""

    factor: Tensor


@dataclass
class LayerNorm(Unary):
    """Each pixel normalised over its channels; gamma and beta are (C,) or None."""

    gamma: Tensor | None
    beta: Tensor | None
    eps: float
    op = "layer_norm"

    def members(self) -> dict[str, Any]:
        return {"eps": self.eps}

    def tensors(self) -> dict[str, Tensor]:
        named = {"gamma": self.gamma, "beta": self.beta}
        return {part: tensor for part, tensor in named.items() if tensor is not None}


@dataclass
class Pool(Unary):
    """The mean over 2x2 pixels, stride 2."""

    op = "avg_pool2x2"

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, C, H // 2, W // 2)."""
        n, c, h, w = shapes[self.source]
        return n, c, h // 2, w // 2


@dataclass
class AtrousPool(Unary):
    """The mean over 2x2 pixels that are `dilation` apart, stride 1 (see `ops.atrous_pool2x2`)."""

    dilation: int
    op = "atrous_pool2x2"

    def members(self) -> dict[str, Any]:
        return {"dilation": self.dilation}


@dataclass
class Upsample2x(Summing):
    """Nearest-neighbour upsampling: each pixel twice in both directions [+ residual]."""

    op = "upsample2x"

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, C, 2 H, 2 W)."""
        n, c, h, w = shapes[self.source]
        return n, c, 2 * h, 2 * w


@dataclass
class Convert(Unary):
    """The same numbers as u8, where it has a Quant, as bf16, or as float32."""

    op = "convert"


@dataclass
class Mean(Unary):
    """The mean over all pixels."""

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        return *shapes[self.source][:2], 1, 1


@dataclass
class Tokens(Unary):
    """A transformer's tokens: first class tokens, then the source's pixels in row-major order; to
    all of them constants are added (position embeddings, and what the class tokens start from).

    Attributes:
        constants: (tokens, C). Their count says how many class tokens there are: tokens - H * W.
        mean: whether a class token is the mean of the pixels (before constants are added); else 0.
    """

    constants: Tensor
    mean: bool
    holds_size = True
    op = "tokens"

    def members(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def tensors(self) -> dict[str, Tensor]:
        return {"constants": self.constants}

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, C, 1, tokens)."""
        return *shapes[self.source][:2], 1, self.constants.shape[0]


@dataclass
class Shift(Unary):
    """Adds constants (H * W, C) to the pixels of every image, such as position embeddings."""

    constants: Tensor
    holds_size = True


@dataclass
class Crop(Unary):
    """Pixels [first, first + height * width) of each image in row-major order, as a map of `size`
    (height, width): a transformer's tokens without the class token."""

    first: int
    size: tuple[int, int]
    holds_size = True
    op = "crop"

    @property
    def count(self) -> int:
        """How many pixels it keeps of an image."""
        return self.size[0] * self.size[1]

    def members(self) -> dict[str, Any]:
        return {"first": self.first, "size": list(self.size)}

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, C, height, width)."""
        return *shapes[self.source][:2], *self.size


@dataclass
class Attention(Node):
    """Scaled dot product attention between the pixels of each image.

    Attributes:
        query, key, value: names of maps.
        first: of each, the channel where its heads begin; heads lie side by side.
        heads, depth: number of heads, and channels of each.
        scale: of the scores.
    """

    query: str
    key: str
    value: str
    first: tuple[int, int, int]
    heads: int
    depth: int
    scale: float
    op = "attention"

    def is_native(self) -> bool:
        return self.key == self.value

    def inputs(self) -> list[str]:
        return [self.key] if self.query == self.key else [self.key, self.query]

    def members(self) -> dict[str, Any]:
        return {
            "heads": self.heads,
            "head_channels": self.depth,
            "first": list(self.first),
            "scale": self.scale,
        }

    def sources(self) -> list[str]:
        return [self.query, self.key, self.value]

    def rename(self, old: str, new: str) -> None:
        self.query, self.key, self.value = (new if n == old else n for n in self.sources())

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """(N, heads * depth, H, W) of the queries."""
        n, _, h, w = shapes[self.query]
        return n, self.heads * self.depth, h, w


@dataclass
class Add(Node):
    """left + right, of one shape."""

    left: str
    right: str

    def sources(self) -> list[str]:
        return [self.left, self.right]

    def rename(self, old: str, new: str) -> None:
        self.left = new if self.left == old else self.left
        self.right = new if self.right == old else self.right


@dataclass
class Graph:
    """An encoder: one input, nodes in order, and the names of its outputs."""

    input: str
    nodes: list[Node] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def uses(self) -> Counter[str]:
        """How often each value is read, by nodes and as an output."""
        counts = Counter(name for node in self.nodes for name in node.sources())
        counts.update(self.outputs)
        return counts

    def replace(self, old: str, new: str) -> None:
        """Lets every reader of `old` read `new`."""
        for node in self.nodes:
            node.rename(old, new)
        self.outputs = [new if name == old else name for name in self.outputs]

    def node(self, name: str) -> Node | None:
        """The node that makes a value; None for the input."""
        return next((node for node in self.nodes if node.name == name), None)
