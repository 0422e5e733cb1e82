"""DeformableAttention: its start, its parts, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparse_ovs import ops
from sparse_ovs.nn import DeformableAttention

SHAPES = [(2, 3), (4, 6)]
CELLS = 30


def inputs(n: int = 2, queries: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, their places, and a source, of 16 channels and two levels."""
    return torch.randn(n, queries, 16), torch.rand(1, queries, 2, 2), torch.randn(n, CELLS, 16)


def module() -> DeformableAttention:
    made = DeformableAttention(dim=16, heads=4, levels=2, points=3)
    for parameter in made.parameters():  # away from its start, where queries do not matter
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def test_heads_start_in_compass_directions_with_points_further_and_further() -> None:
    offsets = DeformableAttention().sampling_offsets
    found = offsets.bias.detach().reshape(8, 3, 4, 2)
    compass = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    for head, direction in enumerate(compass):
        for point in range(4):
            expected = torch.tensor(direction) * (point + 1.0)
            assert torch.allclose(found[head, :, point], expected.expand(3, 2), atol=1e-5)
    assert not offsets.weight.any()


def test_all_points_start_with_the_same_weight() -> None:
    weights = DeformableAttention().attention_weights
    assert not weights.weight.any()
    assert not weights.bias.any()


def test_it_is_its_parts_put_together() -> None:
    attention = module()
    query, places, source = inputs()
    values = attention.value_proj(source).view(2, CELLS, 4, 4)
    offsets = attention.sampling_offsets(query).view(2, 5, 4, 2, 3, 2)
    locations = torch.empty_like(offsets)
    for level, (h, w) in enumerate(SHAPES):
        locations[:, :, :, level, :, 0] = offsets[:, :, :, level, :, 0] / w
        locations[:, :, :, level, :, 1] = offsets[:, :, :, level, :, 1] / h
        locations[:, :, :, level] += places[:, :, None, level, None]
    weights = attention.attention_weights(query).view(2, 5, 4, 6).softmax(-1).view(2, 5, 4, 2, 3)
    summed = ops.deformable_attention_reference(values, SHAPES, locations, weights)
    expected = attention.output_proj(summed)
    assert torch.allclose(attention(query, places, source, SHAPES), expected, atol=1e-5)


def test_inference_gives_what_training_sees() -> None:
    attention, arguments = module(), inputs()
    with torch.no_grad():
        plain = attention(*arguments, SHAPES)
    assert torch.allclose(plain, attention(*arguments, SHAPES), atol=1e-5)


def test_a_gradient_reaches_every_parameter() -> None:
    attention = module()
    attention(*inputs(), SHAPES).square().sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_images_of_a_batch_may_have_places_of_their_own() -> None:
    attention = module()
    query, _, source = inputs()
    places = torch.rand(2, 5, 2, 2)
    both = attention(query, places, source, SHAPES)
    alone = [
        attention(query[i : i + 1], places[i : i + 1], source[i : i + 1], SHAPES) for i in (0, 1)
    ]
    assert torch.allclose(both, torch.cat(alone), atol=1e-5)


def test_it_compiles_whole() -> None:
    attention, arguments = module(), inputs()
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.allclose(
            compiled(*arguments, SHAPES), attention(*arguments, SHAPES), atol=1e-6
        )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"heads": 3}, "heads that divide dim 256, got 3"), ({"points": 0}, "at least 1")],
)
def test_sizes_that_make_no_attention_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeformableAttention(**sizes)


def test_levels_and_places_that_do_not_fit_are_refused() -> None:
    attention = module()
    query, places, source = inputs()
    with pytest.raises(ValueError, match="expected shapes of 2 levels, got 1"):
        attention(query, places, source, SHAPES[:1])
    with pytest.raises(ValueError, match=r"expected reference_points \(2 or 1, 5, 2, 2\)"):
        attention(query, places[:, 1:], source, SHAPES)


@torch.no_grad()
def test_without_its_kernel_it_gives_the_same_to_rounding() -> None:
    torch.manual_seed(0)
    module = DeformableAttention(16, 2, 2, 3)
    shapes = [(3, 4), (6, 8)]
    query, source = torch.randn(2, 5, 16), torch.randn(2, 60, 16)
    reference = torch.rand(2, 5, 2, 2)
    native = module(query, reference, source, shapes)
    module.native = False
    torch.testing.assert_close(module(query, reference, source, shapes), native)
