"""Compiled transformers and ConvNeXts: native, exact, and no token more than is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.backbones.vit import ViTTrunk
from sparse_ovs.engine.graph import Attention, Conv, Graph, LayerNorm
from sparse_ovs.engine.importer import import_program
from sparse_ovs.engine.passes import optimise
from sparse_ovs.engine.torch_nodes import TorchNode
from support.models import maps_of, masked_dense
from support.oracles import assert_as_exact_as_torch
from support.small_transformers import convnext, prune, vit


def assert_right(model: nn.Module, x: Tensor, compiled: nn.Module | None = None) -> list[Tensor]:
    """The compiled outputs, after they were found as exact as those of the masked dense model."""
    if compiled is None:
        compiled = sparse_ovs.compile(model, x)
    dense = masked_dense(model)
    with torch.no_grad():
        ours, fp32 = maps_of(compiled(x)), maps_of(dense(x))
        fp64 = maps_of(dense.double()(x.double()))
    for a, b, c in zip(ours, fp64, fp32, strict=True):
        assert_as_exact_as_torch(a, b, c, scale=float(b.abs().max()))
    return ours


def graph_of(model: nn.Module, x: Tensor) -> Graph:
    return optimise(import_program(torch.export.export(model.eval(), (x,))))


def operations(graph: Graph) -> list[str]:
    return [str(node.target) for node in graph.nodes if isinstance(node, TorchNode)]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "act", [nn.GELU, partial(nn.GELU, "tanh"), open_clip.transformer.QuickGELU]
)
def test_a_vit_with_every_activation(act: Callable[..., nn.Module], batch: int) -> None:
    assert_right(vit(act), torch.randn(batch, 3, 32, 32))


@pytest.mark.parametrize(
    "options", [{"pool_type": "avg"}, {"output_tokens": True}, {"no_ln_pre": True}]
)
def test_a_vit_with_other_heads(options: dict[str, object]) -> None:
    assert_right(vit(**options), torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_vit_trunk_is_one_native_segment(batch: int) -> None:
    model, x = ViTTrunk(vit(), [0, 2]), torch.randn(batch, 3, 32, 32)
    compiled = sparse_ovs.compile(model, x)
    maps = assert_right(model, x, compiled)
    assert [tuple(m.shape) for m in maps] == [(batch, 32, 4, 4)] * 2
    assert [type(part).__name__ for part in compiled.plan_for(x)._parts] == ["Segment"]


def test_a_vit_trunk_takes_other_sizes_and_batches() -> None:
    model = ViTTrunk(vit(), [0, 2])
    compiled = sparse_ovs.compile(model, torch.randn(1, 3, 32, 32))
    for shape in ((2, 3, 32, 32), (1, 3, 56, 40), (1, 3, 8, 8), (1, 3, 112, 113)):
        assert_right(model, torch.randn(shape), compiled)


def test_weights_are_packed_once_for_all_sizes_of_a_vit() -> None:
    compiled = sparse_ovs.compile(ViTTrunk(vit(), [0, 2]), torch.randn(1, 3, 32, 32))
    before = dict(compiled._weights._made)
    compiled(torch.randn(2, 3, 56, 40))
    assert compiled._weights._made == before


@pytest.mark.parametrize(
    "build", [lambda: ViTTrunk(vit(), [0, 2]), lambda: convnext(features_only=True)]
)
def test_bits_are_the_same_for_every_thread_count(build: Callable[[], nn.Module]) -> None:
    model, x = build(), torch.randn(2, 3, 64, 64)
    by_threads = [sparse_ovs.compile(model, x, threads=threads)(x) for threads in (1, 2, 3)]
    for maps in by_threads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(maps, by_threads[0], strict=True))


def test_a_sparsified_vit_compiles_to_the_same_result() -> None:
    model, x = vit(), torch.randn(1, 3, 32, 32)
    expected = sparse_ovs.compile(model, x)(x)
    sparse_ovs.sparsify(model, density=None, engine="native")
    assert torch.equal(sparse_ovs.compile(model, x)(x), expected)


def test_a_convnext_is_one_native_segment_for_every_size() -> None:
    model, x = convnext(features_only=True), torch.randn(1, 3, 64, 96)
    compiled = sparse_ovs.compile(model, x)
    for shape in ((1, 3, 64, 96), (2, 3, 40, 33)):
        assert_right(model, torch.randn(shape), compiled)
    assert "torch" not in str(compiled)
    assert not any(node.holds_size for node in compiled._graph.nodes)


def test_a_convnext_with_a_head() -> None:
    assert_right(convnext(num_classes=5), torch.randn(2, 3, 64, 64))


def test_layer_scale_and_permutes_of_a_convnext_vanish() -> None:
    graph = graph_of(convnext(features_only=True), torch.randn(1, 3, 64, 64))
    assert {type(node) for node in graph.nodes} == {Conv, LayerNorm}
    assert sum(isinstance(n, Conv) and n.activation == "gelu" for n in graph.nodes) == 5
    assert sum(isinstance(n, Conv) and n.residual is not None for n in graph.nodes) == 5


# What is read of it -------------------------------------------------------------------------------


def rows_computed(model: nn.Module, x: Tensor) -> dict[str, int]:
    """Tokens of one image that each linear layer and attention of the optimised graph computes."""
    graph = graph_of(model, x)
    shapes: dict[str, tuple[int, ...]] = {graph.input: tuple(x.shape)}
    rows = {}
    for node in graph.nodes:
        shapes[node.name] = node.out_shape(shapes)
        if isinstance(node, Attention) or (isinstance(node, Conv) and node.is_pointwise()):
            rows[node.name] = shapes[node.name][2] * shapes[node.name][3]
    return rows


@pytest.mark.parametrize("batch", [1, 3])
def test_clip_s_attention_pool_computes_the_row_that_is_read(batch: int) -> None:
    pool = prune(open_clip.modified_resnet.AttentionPool2d(5, 24, 4, 10))
    x = torch.randn(batch, 24, 5, 5)
    rows = rows_computed(pool, x)
    # The query, keys with values, attention, and the output's projection.
    assert sorted(rows.values()) == [1, 1, 1, 26]
    assert max(rows, key=lambda name: rows[name]) == "linear_1_linear_2"
    compiled = sparse_ovs.compile(pool, x)
    assert operations(compiled._graph) == []
    assert_right(pool, x, compiled)


def test_a_vit_s_last_block_computes_the_class_token_alone() -> None:
    rows = list(rows_computed(vit(), torch.randn(1, 3, 32, 32)).values())
    # Of a block: projection in, attention, projection out, two layers; at last CLIP's projection.
    assert rows == [17] * 10 + [17, 1, 1, 1, 1] + [1]


def test_all_tokens_are_computed_where_all_are_read() -> None:
    rows = rows_computed(vit(pool_type="avg"), torch.randn(1, 3, 32, 32))
    assert list(rows.values())[:15] == [17] * 15


# Attention and norms in other hosts ---------------------------------------------------------------


class Host(nn.Module):
    """Attention, a norm and a linear layer, and a forward to be given."""

    def __init__(self, forward: Callable[[Host, Tensor], object]) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.linear = nn.Linear(16, 16)
        self._forward = forward

    def forward(self, x: Tensor) -> object:
        return self._forward(self, x)


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def attend(net: Host, x: Tensor, **options: object) -> Tensor:
    return net.attention(x, x, x, need_weights=False, **options)[0]


RAMP = torch.arange(16.0)

HOSTS: list[Callable[[Host, Tensor], object]] = [
    lambda net, x: attend(net, tokens(x)),
    lambda net, x: attend(net, net.norm(tokens(x)))[:, 2:5],
    lambda net, x: net.attention(*[tokens(x)] * 3)[1],  # returned weights
    lambda net, x: attend(net, tokens(x), attn_mask=torch.eye(x.shape[2] * x.shape[3]).bool()),
    lambda net, x: net.attention(tokens(x)[:, :1], tokens(x), tokens(x), need_weights=False)[0],
    lambda net, x: net.norm(tokens(x).sin()),
    lambda net, x: net.linear(tokens(x).sin()) + tokens(x),
    lambda net, x: net.linear(net.linear(tokens(x)))[:, ::2],
    lambda net, x: F.gelu(net.linear(tokens(x))).chunk(2, -1)[1],
    lambda net, x: net.linear(tokens(x)).split(5, -1),
    lambda net, x: net.linear(x.mean((2, 3))),
    lambda net, x: net.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * RAMP[:, None, None],
    lambda net, x: F.layer_norm(tokens(x), (16,)),
    lambda net, x: F.layer_norm(tokens(x), tuple(tokens(x).shape[1:])),
    lambda net, x: torch.cat([tokens(x), net.linear(tokens(x))], 1),
    lambda net, x: torch.cat([x.new_ones(x.shape[0], 2, 16), tokens(x)], 1) + RAMP,
    lambda net, x: net.linear(tokens(x)).reshape(x.shape[0], -1),
    lambda net, x: net.linear(tokens(x)) * torch.sigmoid(1.7 * net.linear(tokens(x))),
    lambda net, x: F.scaled_dot_product_attention(*[x[:, :, None].flatten(3).transpose(2, 3)] * 3),
]  # fmt: skip


@pytest.mark.parametrize("forward", HOSTS)
@pytest.mark.parametrize("shape", [(1, 16, 3, 5), (2, 16, 7, 7), (2, 16, 1, 1)])
def test_whatever_a_host_does_with_tokens(
    forward: Callable[[Host, Tensor], object], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(1)
    model = Host(forward).eval()
    if shape[2:] == (1, 1) and forward in (HOSTS[1], HOSTS[3]):
        pytest.skip("needs more tokens")
    assert_right(model, torch.randn(shape))


@pytest.mark.parametrize("kind", ["none", "tanh"])
def test_activations_that_no_linear_layer_precedes(kind: str) -> None:
    model = Host(lambda net, x: F.gelu(x, approximate=kind)).eval()
    assert_right(model, torch.randn(1, 16, 3, 3))


def test_a_vit_propagates_nan_to_its_own_image_only() -> None:
    model, x = vit(), torch.randn(2, 3, 32, 32)
    x[1, 0, 3, 3] = torch.nan
    y = sparse_ovs.compile(model, x)(x)
    assert not y[0].isnan().any()
    assert y[1].isnan().all()
