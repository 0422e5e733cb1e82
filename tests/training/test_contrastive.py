"""CLIP's loss against a computation by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_ovs.training.contrastive import contrastive_loss
from support.examples import examples


@settings(deadline=None, max_examples=examples(20))
@given(count=st.integers(1, 7), width=st.integers(1, 5), seed=st.integers(0, 99))
def test_it_is_the_mean_cross_entropy_of_rows_and_columns(
    count: int, width: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    images, texts = torch.randn(2, count, width, generator=draw, dtype=torch.float64)
    scale = 3.0
    table = [
        [scale * sum(a * b for a, b in zip(i, t, strict=True)) for t in texts.tolist()]
        for i in images.tolist()
    ]
    wanted = 0.0
    for own in range(count):
        for line in (table[own], [row[own] for row in table]):
            wanted += math.log(sum(math.exp(value - line[own]) for value in line)) / (2 * count)
    found = contrastive_loss(images, texts, torch.tensor(scale))
    assert float(found) == pytest.approx(wanted, abs=1e-9)


def test_pairs_far_from_all_others_cost_nothing() -> None:
    assert float(contrastive_loss(torch.eye(4), torch.eye(4), torch.tensor(100.0))) < 1e-6


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected images and texts \(N, D\)"):
        contrastive_loss(torch.ones(2, 3), torch.ones(3, 3), torch.tensor(1.0))
