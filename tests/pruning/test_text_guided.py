"""The text-guided loss, against its equations by plain loops in fp64."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs.pruning.text_guided import TextGuidedDistillation


def _problem(counts: tuple[int, ...] = (3, 1), layers: int = 2) -> tuple[list, list, list]:
    """Queries of width 6, embeddings of width 8, by image."""
    queries = [[torch.randn(n, 6, dtype=torch.float64) for n in counts] for _ in range(layers)]
    crops = [torch.randn(n, 8, dtype=torch.float64) for n in counts]
    return queries, crops, [torch.randn(n, 8, dtype=torch.float64) for n in counts]


def _module(layers: int = 2, **how: float) -> TextGuidedDistillation:
    return TextGuidedDistillation(layers, 6, 8, **how).double()


def _unit(row: list[float]) -> list[float]:
    length = sum(x * x for x in row) ** 0.5
    return [x / length for x in row]


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _looped(module: TextGuidedDistillation, queries: list, crops: list, texts: list) -> float:
    """The equations one number at a time."""
    s = module.scale.item()
    total = 0.0
    for projection, layer in zip(module.projections, queries, strict=True):
        values = []
        for image, query in enumerate(layer):
            matrix = projection.weight.tolist()
            v = [_unit([_dot(row, q) for row in matrix]) for q in query.tolist()]
            c = [_unit(row) for row in crops[image].tolist()]
            t = [_unit(row) for row in texts[image].tolist()]
            for i in range(len(v)):
                for j in range(len(v)):
                    values.append((s**2 * _dot(t[i], t[j]) - _dot(v[i], c[j])) ** 2)
                values.append(sum((x - y) ** 2 for x, y in zip(v[i], c[i], strict=True)))
        total += sum(values) / len(values)
    return module.weight * total


def test_the_loss_is_the_methods_equations() -> None:
    module = _module()
    problem = _problem()
    assert module.scale.item() == 1
    assert module.weight == 2
    assert module(*problem).item() == pytest.approx(_looped(module, *problem), rel=1e-12)
    with torch.no_grad():
        module.scale.fill_(0.7)
    assert module(*problem).item() == pytest.approx(_looped(module, *problem), rel=1e-12)


def test_by_default_ten_layers_are_projected_into_clips_space() -> None:
    module = TextGuidedDistillation()
    assert [tuple(p.weight.shape) for p in module.projections] == [(1024, 256)] * 10
    assert sum(p.numel() for p in module.parameters()) == 10 * 1024 * 256 + 1


def test_pairs_relate_within_an_image_only() -> None:
    module = _module(layers=1)
    (queries,), crops, texts = _problem((2, 2), layers=1)
    together = module([[torch.cat(queries)]], [torch.cat(crops)], [torch.cat(texts)])
    apart = module([queries], crops, texts)
    assert abs((together - apart).item()) > 1e-3


def test_lengths_of_embeddings_do_not_matter() -> None:
    module = _module()
    queries, crops, texts = _problem()
    longer = module(queries, [3 * c for c in crops], [0.1 * t for t in texts])
    torch.testing.assert_close(module(queries, crops, texts), longer)


def test_gradients_reach_queries_projections_and_scale_but_not_clip() -> None:
    module = _module()
    queries, crops, texts = _problem()
    leaves = [t.requires_grad_() for t in [*queries[0], *queries[1], *crops, *texts]]
    module(queries, crops, texts).backward()
    assert all(float(leaf.grad.abs().sum()) > 0 for leaf in leaves[:4])
    assert all(leaf.grad is None for leaf in leaves[4:])
    assert all(float(p.grad.abs().sum()) > 0 for p in module.parameters())


def test_a_batch_without_pairs_costs_nothing_and_trains_nothing() -> None:
    module = _module()
    loss = module(*_problem((0, 0)))
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


def test_an_image_without_pairs_leaves_the_others_as_they_are() -> None:
    module = _module()
    queries, crops, texts = _problem((3, 0))
    alone = module([layer[:1] for layer in queries], crops[:1], texts[:1])
    torch.testing.assert_close(module(queries, crops, texts), alone)


def test_under_autocast_the_similarities_keep_fp32() -> None:
    module = TextGuidedDistillation(1, 6, 8)
    # Small integers, whose projection bfloat16 holds exactly: only what follows could round.
    with torch.no_grad():
        module.projections[0].weight.copy_(torch.randint(-1, 2, (8, 6)))
    query = torch.randint(-2, 3, (4, 6)).float()
    crops, texts = torch.randn(2, 4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = module([[query]], [crops], [texts])
    assert found.dtype == torch.float32
    exact = module.double()([[query.double()]], [crops.double()], [texts.double()])
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, c, t: (q[:1], c, t), "expected queries of 2 layers, got 1"),
        (lambda q, c, t: (q, c, t[:1]), "expected text embeddings of shapes"),
        (lambda q, c, t: (q, [c[0][:, :4], c[1]], t), "expected crop embeddings of shapes"),
        (lambda q, c, t: ([q[0], q[1][::-1]], c, t), "expected queries of layer 1 of shapes"),
        (lambda q, c, t: ([[], []], [], []), "expected at least one image"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _module()(*change(*_problem()))


@pytest.mark.parametrize("how", [{"layers": 0}, {"query_dim": 0}, {"weight": -1.0}])
def test_sizes_and_weights_out_of_range_are_refused(how: dict) -> None:
    with pytest.raises(ValueError, match="expected sizes of at least 1"):
        TextGuidedDistillation(**how)
