"""Panoptic and instance results, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sparse_ovs.heads.instances import instances
from sparse_ovs.heads.panoptic import PanopticSegment, panoptic

THINGS = [True, False]  # class 0 is a thing, class 1 is stuff


def mask(rows: str) -> Tensor:
    """Logits: "#" sure, "." surely not, "+" probability 0.6."""
    values = {"#": 20.0, ".": -20.0, "+": math.log(1.5)}
    return torch.tensor([[values[c] for c in row] for row in rows.split()])


def certain(*pairs: tuple[int, float]) -> Tensor:
    """By query, a class (2: no object) and its probability; the rest goes to the others."""
    rows = torch.zeros(len(pairs), 3)
    for row, (index, share) in zip(rows, pairs, strict=True):
        row[:] = (1 - share) / 2
        row[index] = share
    return rows


def test_pixels_go_to_the_query_of_the_highest_score_times_mask() -> None:
    masks = torch.stack([mask("#### ####"), mask("...# ...#")])
    ids, segments = panoptic(certain((0, 0.6), (0, 0.9)), masks, THINGS, overlap=0.5)
    assert ids.dtype == torch.int32
    assert ids.tolist() == [[1, 1, 1, 2], [1, 1, 1, 2]]
    assert segments[0] == PanopticSegment(1, 0, True, pytest.approx(0.6))
    assert segments[1] == PanopticSegment(2, 0, True, pytest.approx(0.9))


def test_a_query_that_lost_too_much_of_its_mask_is_dropped() -> None:
    masks = torch.stack([mask("#### ####"), mask("..## ..##")])
    ids, segments = panoptic(certain((0, 0.6), (0, 0.9)), masks, THINGS, overlap=0.8)
    assert ids.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert [segment.score for segment in segments] == [pytest.approx(0.9)]


def test_pixels_outside_of_every_mask_belong_to_none() -> None:
    ids, _ = panoptic(certain((0, 0.9)), mask("##.. ##+.")[None], THINGS)
    assert ids.tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]


def test_no_object_and_low_scores_do_not_compete() -> None:
    masks = torch.stack([mask("####")] * 3)
    scores = certain((2, 0.9), (0, 0.5), (1, 0.6))
    ids, segments = panoptic(scores, masks, THINGS, object_threshold=0.55)
    assert ids.tolist() == [[1, 1, 1, 1]]
    assert [segment.index for segment in segments] == [1]


def test_an_instances_score_is_its_classs_times_its_masks() -> None:
    (found,) = instances(certain((0, 0.8)), mask("#+..")[None], THINGS, top=1)
    assert found.index == 0
    assert found.mask.tolist() == [[True, True, False, False]]
    assert found.score == pytest.approx(0.8 * (1 + 0.6) / 2)


def test_instances_are_things_alone_the_surest_first() -> None:
    masks = torch.stack([mask("#..."), mask(".##."), mask("..++")])
    found = instances(certain((0, 0.8), (1, 0.9), (0, 0.85)), masks, THINGS)
    assert [round(each.score, 3) for each in found] == [0.8, 0.51, 0.05]
    assert all(each.index == 0 for each in found)


def test_stuff_takes_places_of_the_top_pairs() -> None:
    masks = torch.stack([mask("#..."), mask(".##.")])
    assert instances(certain((0, 0.8), (1, 0.9)), masks, THINGS, top=1) == []


def test_a_mask_without_a_pixel_scores_nothing() -> None:
    (found,) = instances(certain((0, 0.8)), mask("....")[None], THINGS, top=1)
    assert found.score == 0
