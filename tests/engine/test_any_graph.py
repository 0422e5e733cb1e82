"""Whatever torch.export takes compiles: in place or not, of any type, whatever it returns."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.nn.utils import prune

import sparse_ovs

X = torch.randn(2, 16, 6, 5, generator=torch.Generator().manual_seed(0))


class Host(nn.Module):
    """Layers and buffers of several types, and a forward to be given."""

    def __init__(self, forward: Callable[[Host, Tensor], object]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.linear = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.batch_norm = nn.BatchNorm2d(16)
        self.nothing = nn.Linear(16, 0)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.register_buffer("vector", torch.randn(16))
        self.register_buffer("in_double", torch.tensor(0.7, dtype=torch.float64))
        self.register_buffer("an_integer", torch.tensor([3]))
        self.register_buffer("whole", torch.randint(-2, 3, (16, 16, 3, 3)).float())
        self._forward = forward

    def forward(self, x: Tensor) -> object:
        return self._forward(self, x)


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def assert_like_eager(forward: Callable[[Host, Tensor], object]) -> nn.Module:
    """Compiled and called twice, it gives what eager gives: types, nesting and values."""
    torch.manual_seed(0)
    model = Host(forward).eval()
    with torch.no_grad():
        expected, tree = pytree.tree_flatten(copy.deepcopy(model)(X.clone()))
    compiled = sparse_ovs.compile(model, X.clone())
    for _ in range(2):
        ours, own_tree = pytree.tree_flatten(compiled(X.clone()))
        assert own_tree == tree
        for a, b in zip(ours, expected, strict=True):
            if isinstance(b, Tensor):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
            else:
                assert a == b
    return compiled


def in_torch(compiled: nn.Module) -> dict[str, str]:
    """Why torch runs what it runs, by operation."""
    rows = compiled.plan_for(X).rows()
    return {row.op: row.reason for row in rows if row.backend == "torch"}


# Residual adds at the ends of what is native --------------------------------------------------


def residual(net: Host, x: Tensor) -> Tensor:
    return x + net.linear(net.norm(x))


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: residual(net, tokens(net.conv(x))),
        lambda net, x: residual(net, tokens(x)),
        lambda net, x: tokens(net.conv(x)) + net.linear(tokens(x)),
        lambda net, x: residual(net, net.conv(x).permute(0, 2, 3, 1)),
        lambda net, x: [tokens(x), residual(net, tokens(x)), net.conv(x) + x],
        lambda net, x: residual(net, tokens(x)).transpose(1, 2).reshape(x.shape) + net.conv(x),
        lambda net, x: tokens(x) + net.attention(*[tokens(x)] * 3, need_weights=False)[0],
    ],
)
def test_a_residual_add_before_the_outputs_is_native(
    forward: Callable[[Host, Tensor], object],
) -> None:
    assert set(in_torch(assert_like_eager(forward))) <= {"View"}


def test_tokens_of_an_embedding_plus_a_linear_layer_of_them_are_as_exact_as_torch() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Conv2d(3, 64, 16, 16)
            self.linear = nn.Linear(64, 64)

        def forward(self, x: Tensor) -> Tensor:
            x = self.embedding(x).flatten(2).transpose(1, 2)
            return x + self.linear(x)

    model = Embedded().eval()
    compiled = sparse_ovs.compile(model, torch.randn(1, 3, 64, 48))
    for shape in ((1, 3, 64, 48), (3, 3, 64, 48), (2, 3, 32, 80)):
        x = torch.randn(shape)
        with torch.no_grad():
            fp32, fp64 = model(x), copy.deepcopy(model).double()(x.double())
        error, of_torch = (float((y - fp64).abs().max()) for y in (compiled(x), fp32))
        assert error <= 2 * of_torch + 1e-6 * float(fp64.abs().max())
    rows = compiled.plan_for(torch.randn(1, 3, 64, 48)).rows()
    assert [row.op for row in rows if row.backend == "torch"] == ["View"]


# What programs return, and what they run ------------------------------------------------------


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: (net.conv(x), None, 3, "word", 1.5, True),
        lambda net, x: {"map": net.conv(x), "weight": net.linear.weight},
        lambda net, x: net.vector * 2,
        lambda net, x: [net.conv(x)] * 2,
        lambda net, x: (x, tokens(x)),
        lambda net, x: net.nothing(tokens(x)),
        lambda net, x: net.conv(x)[:, :, 3:3],
        lambda net, x: torch.cat([torch.zeros(0), tokens(net.conv(x))], 1),
    ],
)
def test_whatever_a_model_returns(forward: Callable[[Host, Tensor], object]) -> None:
    assert_like_eager(forward)


def branch(net: Host, x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, torch.sin, torch.cos, (net.conv(x),))


def in_half(net: Host, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = torch.sigmoid(x)
    return net.conv(y.float()) + x


def chosen_images(net: Host, x: Tensor) -> Tensor:
    y = net.conv(x)
    return net.conv(y[torch.nonzero(y[:, 0, 0, 0] > -9)[:, 0]])


@pytest.mark.parametrize("forward", [branch, in_half, chosen_images])
def test_graphs_inside_operations_and_sizes_that_numbers_decide(
    forward: Callable[[Host, Tensor], object],
) -> None:
    assert_like_eager(forward)


# Other types than float32 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: F.avg_pool2d(net.conv(x).double(), 2),
        lambda net, x: F.layer_norm(net.conv(x).double().permute(0, 2, 3, 1), (16,)),
        lambda net, x: net.conv(x) + (x > 0).int(),
        lambda net, x: net.norm(tokens(net.conv(x) * net.in_double)),
        lambda net, x: net.conv(x) * net.vector.double()[:, None, None],
        lambda net, x: net.conv(net.conv(x) * net.an_integer),
        # Whole numbers, which half precision holds: it would show an ulp of fp32 a thousandfold.
        lambda net, x: F.conv2d(x.round(), net.whole).half().relu().float(),
    ],
)
def test_numbers_of_other_types_keep_theirs(forward: Callable[[Host, Tensor], object]) -> None:
    assert_like_eager(forward)


# Writes in place ------------------------------------------------------------------------------


def through_a_view(net: Host, x: Tensor) -> Tensor:
    y = net.conv(x)
    y[:, :4].relu_()
    return y


def seen_by_a_view(net: Host, x: Tensor) -> object:
    y = net.conv(x)
    view = tokens(y)
    y.relu_()
    return view, y


def of_a_copy(net: Host, x: Tensor) -> object:
    y = net.conv(x)
    copied = y.permute(0, 2, 3, 1).contiguous()
    return F.silu(copied, inplace=True), y.relu()


def after_dropout(net: Host, x: Tensor) -> Tensor:
    y = net.conv(x)
    F.dropout(y, 0.5, False).relu_()
    return y


def into_zeros(net: Host, x: Tensor) -> Tensor:
    y = torch.zeros(x.shape)
    y[:, :8] = net.conv(x)[:, :8]
    return y


def added_to_zeros(net: Host, x: Tensor) -> Tensor:
    y = torch.zeros(16)
    y += x.mean((0, 2, 3))
    return y


def twice(net: Host, x: Tensor) -> Tensor:
    y = net.conv(x)
    same = y
    y += 1
    y.relu_()
    return same + y


def to_the_input(net: Host, x: Tensor) -> Tensor:
    return net.conv(x.relu_())


def between_a_gate_and_its_use(net: Host, x: Tensor) -> Tensor:
    y = net.linear(tokens(x))
    gate = torch.sigmoid(1.702 * y)
    y.relu_()
    return y * gate


@pytest.mark.parametrize(
    "forward",
    [
        through_a_view,
        seen_by_a_view,
        of_a_copy,
        after_dropout,
        into_zeros,
        added_to_zeros,
        twice,
        to_the_input,
        between_a_gate_and_its_use,
    ],
)
def test_a_write_in_place_is_seen_by_all_who_see_it_in_eager(
    forward: Callable[[Host, Tensor], object],
) -> None:
    assert_like_eager(forward)


def test_convolutions_keep_their_norms_where_writes_are_seen_by_views() -> None:
    def forward(net: Host, x: Tensor) -> object:
        return seen_by_a_view(net, net.batch_norm(net.conv(x)))

    assert "BatchNorm" not in in_torch(assert_like_eager(forward))


# Weights that are computed --------------------------------------------------------------------


@pytest.mark.parametrize(
    "compute",
    [
        lambda conv: prune.l1_unstructured(conv, "weight", 0.5),
        torch.nn.utils.weight_norm,
        torch.nn.utils.parametrizations.weight_norm,
        torch.nn.utils.spectral_norm,
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_computed_weights_are_computed_once(compute: Callable[[nn.Module], object]) -> None:
    model = nn.Sequential(nn.Conv2d(16, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1))
    compute(model[0])
    model.eval()(X)  # now it holds a weight that is no leaf
    compiled = sparse_ovs.compile(model, X)
    torch.testing.assert_close(compiled(X), model(X).detach(), atol=1e-5, rtol=1e-5)
    assert not in_torch(compiled)


# Why in torch ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "op", "reason"),
    [
        (lambda net, x: torch.sin(net.conv(x)), "aten.sin.default", "no native step"),
        (
            lambda net, x: F.avg_pool2d(net.conv(x), 3),
            "aten.avg_pool2d.default",
            "no native step for these arguments",
        ),
        (
            lambda net, x: F.relu(net.conv(x).double()),
            "aten.relu.default",
            "no native step but for float32",
        ),
        (
            lambda net, x: net.conv(x).mean(dim=None, keepdim=True),
            "aten.mean.dim",
            "no native step for these arguments",
        ),
        (lambda net, x: F.relu(x), "Activation", "no convolution to join it to"),
    ],
)
def test_every_row_of_torch_says_why(
    forward: Callable[[Host, Tensor], object], op: str, reason: str
) -> None:
    compiled = assert_like_eager(forward)
    assert in_torch(compiled)[op] == reason
    assert reason in str(compiled)
