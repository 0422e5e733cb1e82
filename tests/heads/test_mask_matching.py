"""Matching of queries and regions: against all permutations, with costs from plain loops."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.heads import MaskLossSettings, Regions, regions_from_labels
from sparse_ovs.heads.mask_output import Prediction
from sparse_ovs.heads.matching import match_queries
from support import straightforward
from support.small_mask_heads import draws

SETTINGS = MaskLossSettings(points=9)


def predict(images: int, queries: int, classes: int = 3) -> Prediction:
    return Prediction(
        torch.randn(images, queries, classes + 1, dtype=torch.float64),
        3 * torch.randn(images, queries, 5, 6, dtype=torch.float64),
        torch.zeros(images, queries, 1),
        torch.zeros(images, queries, 1),
    )


def some_regions(count: int, classes: int = 3) -> Regions:
    return Regions(torch.randint(classes, (count,)), torch.rand(count, 10, 12) < 0.5)


def plain_costs(prediction: Prediction, target: Regions, points: Tensor) -> list[list[float]]:
    """Of image 0, by query, by region."""
    costs = []
    for logits, mask in zip(prediction.class_logits[0], prediction.mask_logits[0], strict=True):
        row = []
        for label, region in zip(target.classes, target.masks, strict=True):
            x, t = (
                straightforward.read_bilinearly(
                    m[..., None],
                    points[:, 0] * m.shape[1] - 0.5,
                    points[:, 1] * m.shape[0] - 0.5,
                )[:, 0]
                for m in (mask, region.double())
            )
            p = x.sigmoid()
            entropy = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
            dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
            row.append(float(5 * entropy + 5 * dice - 2 * logits.softmax(0)[label]))
        costs.append(row)
    return costs


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 1000))
def test_no_other_pairs_cost_less(queries: int, count: int, seed: int) -> None:
    torch.manual_seed(seed)
    prediction, target = predict(1, queries), some_regions(count)
    (match,) = match_queries(prediction, [target], SETTINGS, draws(1))
    points = torch.rand(1, 9, 2, generator=draws(1)[0])[0].double()
    costs = plain_costs(prediction, target, points)
    fewer = min(queries, count)
    least = min(
        sum(costs[q][r] for q, r in zip(some, others, strict=True))
        for some in permutations(range(queries), fewer)
        for others in permutations(range(count), fewer)
    )
    found = list(zip(match.queries.tolist(), match.regions.tolist(), strict=True))
    assert len(found) == len({q for q, _ in found}) == len({r for _, r in found}) == fewer
    assert sum(costs[q][r] for q, r in found) == pytest.approx(least, abs=1e-5)
    assert match.regions.tolist() == sorted(match.regions.tolist())


def test_a_perfect_query_gets_its_region() -> None:
    small = torch.rand(3, 5, 6) < 0.5
    target = Regions(torch.tensor([0, 1, 2]), small.repeat_interleave(2, 1).repeat_interleave(2, 2))
    prediction = predict(1, 4)
    prediction.mask_logits[0, [2, 0, 3]] = 40 * small.double() - 20
    prediction.class_logits[0, [2, 0, 3]] = 20 * F.one_hot(target.classes, 4).double()
    (match,) = match_queries(prediction, [target], MaskLossSettings(points=500), draws(1))
    assert match.queries.tolist() == [2, 0, 3]


def test_images_are_matched_apart() -> None:
    prediction, targets = predict(2, 4), [some_regions(2), some_regions(3)]
    both = match_queries(prediction, targets, SETTINGS, draws(2))
    second = Prediction(
        prediction.class_logits[1:],
        prediction.mask_logits[1:],
        prediction.class_features[1:],
        prediction.class_vectors[1:],
    )
    (alone,) = match_queries(second, targets[1:], SETTINGS, draws(2)[1:])
    assert torch.equal(both[1].queries, alone.queries)


def test_predictions_that_are_nan_are_refused() -> None:
    prediction = predict(1, 3)
    prediction.mask_logits[0, 1, 2, 2] = torch.nan
    with pytest.raises(ValueError, match="expected finite predictions, got NaN or infinity"):
        match_queries(prediction, [some_regions(2)], MaskLossSettings(points=500), draws(1))


def test_a_region_is_a_class_of_an_image() -> None:
    labels = torch.tensor([[[2, 2, -1], [0, 0, 2]], [[-1, -1, -1], [-1, -1, -1]]])
    first, second = regions_from_labels(labels)
    assert first.classes.tolist() == [0, 2]
    assert first.masks.int().tolist() == [[[0, 0, 0], [1, 1, 0]], [[1, 1, 0], [0, 0, 1]]]
    assert len(second) == 0
    assert second.masks.shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("classes", "masks", "message"),
    [
        ((2,), (3, 4, 4), "expected a class for each of 3 masks, got 2"),
        ((2, 1), (2, 4, 4), r"expected classes \(n,\) and masks \(n, H, W\), got \(2, 1\)"),
    ],
)
def test_regions_of_other_shapes_are_refused(
    classes: tuple[int, ...], masks: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Regions(torch.zeros(classes, dtype=torch.int64), torch.zeros(masks, dtype=torch.bool))
