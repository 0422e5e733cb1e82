"""Transformers and ConvNeXts in int8: every layer, and no conversion between them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import open_clip
import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.backbones.vit import ViTTrunk
from sparse_ovs.engine.graph import Attention, Conv, Convert, LayerNorm
from sparse_ovs.quantization import layer_errors
from sparse_ovs.quantization.graphs import Values
from support.models import maps_of
from support.small_transformers import convnext, vit

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def int8(
    model: nn.Module, x: Tensor = X, threads: int = 1, **how: object
) -> sparse_ovs.engine.CompiledEncoder:
    q = sparse_ovs.quantize(model, [x], **how)
    return sparse_ovs.compile(
        model, x, threads=threads, autotune=False, precision="int8", quantization=q
    )


def error(ours: object, exact: object) -> float:
    """Relative, of all maps."""
    a = torch.cat([m.flatten() for m in maps_of(ours)])
    b = torch.cat([m.flatten() for m in maps_of(exact)])
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize(
    "act", [nn.GELU, partial(nn.GELU, "tanh"), open_clip.transformer.QuickGELU]
)
def test_a_vit_runs_in_int8_and_stays_near_fp32(act: Callable[..., nn.Module]) -> None:
    model = vit(act)
    fast = int8(model)
    with torch.no_grad():
        assert 0 < error(fast(X), model(X)) < 0.03
    rows = fast.plan_for(X).rows()
    assert all(row.backend.startswith("int8") for row in rows if row.op.startswith("conv "))
    assert not any(row.reason for row in rows if row.op.startswith("conv "))


@pytest.mark.parametrize("make", [vit, convnext])
def test_layers_read_bytes_that_the_steps_before_them_wrote(make: Callable[[], nn.Module]) -> None:
    """A ConvNeXt's depthwise convolutions alone read what blocks add to, which stays in floats."""
    graph = int8(make())._graph
    adds = {node.residual for node in graph.nodes if isinstance(node, Conv)}
    for convert in (node for node in graph.nodes if isinstance(node, Convert)):
        assert convert.source == graph.input or convert.source in adds
        assert make is convnext or convert.source == graph.input
    sources = {node.source for node in graph.nodes if isinstance(node, Conv)}
    for node in graph.nodes:
        if isinstance(node, (LayerNorm, Attention)):
            assert (node.quant is not None) == (node.name in sources)


@pytest.mark.parametrize("make", [vit, convnext])
def test_what_blocks_add_to_stays_in_floats(make: Callable[[], nn.Module]) -> None:
    summing = [n for n in int8(make())._graph.nodes if isinstance(n, Conv) and n.residual]
    assert summing
    assert all(node.quant is None and node.weight_scales is not None for node in summing)


@pytest.mark.parametrize("options", [{}, {"features_only": True}])
def test_a_convnext_runs_in_int8_and_stays_near_fp32(options: dict[str, object]) -> None:
    model, x = convnext(**options), torch.randn(2, 3, 64, 64)
    fast = int8(model, x)
    with torch.no_grad():
        assert 0 < error(fast(x), model(x)) < 0.03
    backends = {row.backend for row in fast.plan_for(x).rows() if row.op.startswith("conv ")}
    assert "int8 depthwise" in backends
    assert all(backend.startswith("int8") for backend in backends)


def test_embeddings_of_a_resnet_with_an_attention_pool_run_in_int8() -> None:
    tower = open_clip.modified_resnet.ModifiedResNet(
        layers=(1, 1, 1, 1), output_dim=24, heads=4, image_size=64, width=16
    ).eval()
    x = torch.randn(1, 3, 64, 64)
    fast = int8(tower, x)
    rows = [row for row in fast.plan_for(x).rows() if row.op.startswith("conv ")]
    assert all(row.backend.startswith("int8") for row in rows)
    with torch.no_grad():
        assert error(fast(x), tower(x)) < 0.1


@pytest.mark.parametrize("make", [vit, convnext])
def test_the_simulation_in_torch_gives_what_the_plan_gives(make: Callable[[], nn.Module]) -> None:
    """Up to numbers that lie between two bytes: far nearer than int8 is to fp32."""
    model = make()
    fast = int8(model)
    values = Values(fast._graph, X)
    with torch.no_grad():
        for node in fast._graph.nodes:
            values.run(node)
        simulated = [values.made[name] for name in fast._graph.outputs]
        graph_made = fast.plan_for(X).run(X)
        exact = model(X)
    assert error(graph_made, simulated) < 0.4 * error(fast(X), exact)


@pytest.mark.parametrize("make", [vit, convnext])
def test_results_do_not_depend_on_threads_and_batches(make: Callable[[], nn.Module]) -> None:
    model = make()
    q = sparse_ovs.quantize(model, [X])
    how = {"autotune": False, "precision": "int8", "quantization": q}
    one = sparse_ovs.compile(model, X, threads=1, **how)
    two = sparse_ovs.compile(model, X, threads=2, **how)
    whole = maps_of(one(X))
    for number in range(len(X)):
        for made in (two(X), one(X[number : number + 1]), two(X[number : number + 1])):
            for ours, theirs in zip(maps_of(made), whole, strict=True):
                assert torch.equal(ours[number if len(ours) > 1 else 0], theirs[number])


@pytest.mark.parametrize(
    "make", [lambda: ViTTrunk(vit(), [0, 2]), lambda: convnext(features_only=True)]
)
def test_a_saved_plan_gives_the_same_bits(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    fast = int8(make())
    fast.save(tmp_path / "int8.plan")
    loaded = sparse_ovs.load_plan(tmp_path / "int8.plan")
    for ours, theirs in zip(maps_of(loaded(X)), maps_of(fast(X)), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("pattern", ["*c_fc", "*c_proj", "*attn*", "*.0.*"])
def test_layers_that_stay_in_fp32_share_maps_with_those_in_int8(pattern: str) -> None:
    model = vit()
    fast = int8(model, exclude=[pattern])
    with torch.no_grad():
        assert error(fast(X), model(X)) < 0.03
    reasons = {row.reason for row in fast.plan_for(X).rows() if row.op.startswith("conv ")}
    assert reasons == {"", "kept in fp32, as asked for"}


def test_errors_are_told_of_every_layer_of_a_vit() -> None:
    model = vit()
    errors = layer_errors(model, [X], sparse_ovs.quantize(model, [X]))
    assert len(errors) == 1 + 4 * 3 + 1
    assert all(0 < each.alone < 0.05 and not each.reason for each in errors)


def test_weights_of_a_vit_may_be_held_once() -> None:
    model = vit()
    q = sparse_ovs.quantize(model, [X])
    how = {"precision": "int8", "quantization": q}
    small = sparse_ovs.compile(model, X, release_dense=True, **how)
    assert torch.equal(small(X), sparse_ovs.compile(model, X, **how)(X))
