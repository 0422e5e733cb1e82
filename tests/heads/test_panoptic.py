"""Panoptic and instance results against each pixel looked at by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.heads.frame import Frame
from sparse_ovs.heads.instances import instances
from sparse_ovs.heads.panoptic import PanopticSegment, panoptic
from sparse_ovs.heads.strips import framed_rows, strips
from support.examples import examples


def by_pixel(
    probabilities: Tensor, masks: Tensor, things: list[bool], overlap: float
) -> dict[int, set[tuple[int, int]]]:
    """Pixels of each query that keeps some."""
    scores, classes = probabilities.max(1)
    alive = [q for q in range(len(masks)) if classes[q] < len(things)]
    sure = masks.sigmoid()
    won: dict[int, set[tuple[int, int]]] = {q: set() for q in alive}
    own = {q: int((sure[q] >= 0.5).sum()) for q in alive}
    for y in range(masks.shape[1]):
        for x in range(masks.shape[2]):
            if alive:
                won[max(alive, key=lambda q: float(scores[q] * sure[q, y, x]))].add((y, x))
    kept = {}
    for q in alive:
        inside = {(y, x) for y, x in won[q] if sure[q, y, x] >= 0.5}
        if inside and len(won[q]) >= overlap * own[q]:
            kept[q] = inside
    return kept


@settings(max_examples=examples(30))
@given(queries=st.integers(1, 8), seed=st.integers(0, 1000), overlap=st.sampled_from([0.0, 0.8]))
def test_pixels_go_where_each_by_itself_goes(queries: int, seed: int, overlap: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(queries, 4, generator=generator)).softmax(1)
    masks = 3 * torch.randn(queries, 5, 6, generator=generator)
    things = [True, False, True]
    ids, segments = panoptic(probabilities, masks, things, overlap=overlap)
    classes = probabilities.argmax(1).tolist()
    expected: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for query, pixels in by_pixel(probabilities, masks, things, overlap).items():
        key = (classes[query], query if things[classes[query]] else -1)
        expected[key] = expected.get(key, set()) | pixels
    found = {
        frozenset(map(tuple, (ids == s.id).nonzero().tolist())): s.index  # type: ignore[misc]
        for s in segments
    }
    assert found == {frozenset(pixels): key[0] for key, pixels in expected.items()}
    assert int((ids > 0).sum()) == sum(map(len, expected.values()))


def squares() -> tuple[Tensor, Tensor]:
    """Two things beside each other, two halves of stuff, and a query of no object, on 8x8."""
    masks = torch.full((5, 8, 8), -9.0)
    masks[0, :4, :4] = masks[1, :4, 4:] = masks[2, 4:, :4] = masks[3, 4:, 4:] = masks[4] = 9.0
    probabilities = torch.tensor(
        [[0.8, 0.1, 0.1], [0.7, 0.1, 0.2], [0.1, 0.6, 0.3], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]]
    )
    return probabilities, masks


def test_stuff_is_one_segment_and_things_are_several() -> None:
    ids, segments = panoptic(*squares(), [True, False])
    assert [(s.id, s.index, s.thing) for s in segments] == [
        (1, 0, True),
        (2, 0, True),
        (3, 1, False),
    ]
    assert [s.score for s in segments] == pytest.approx([0.8, 0.7, 0.9])
    assert ids.dtype == torch.int32
    assert [int(ids[y, x]) for y, x in ((0, 0), (0, 7), (7, 0), (7, 7))] == [1, 2, 3, 3]


def test_queries_below_the_threshold_leave_their_pixels_to_nobody() -> None:
    ids, segments = panoptic(*squares(), [True, False], object_threshold=0.65)
    assert len(segments) == 3
    assert not ids[4:, :4].any()


def test_nothing_but_no_object_gives_no_segment() -> None:
    masks = torch.randn(2, 4, 4)
    ids, segments = panoptic(torch.tensor([[0.0, 1.0]] * 2), masks, [True])
    assert not ids.any()
    assert segments == []


def test_instances_are_scored_by_class_and_mask() -> None:
    probabilities, masks = squares()
    masks[0, 0, 0] = 0.1
    first, second, *_ = instances(probabilities, masks, [True, False])
    sure = masks[0].sigmoid()[masks[0] > 0].mean()
    assert (second.index, second.score) == (
        0,
        pytest.approx(0.7 * float(torch.sigmoid(masks[1, 0, 4]))),
    )
    assert first.score == pytest.approx(0.8 * float(sure))
    assert torch.equal(first.mask, masks[0] > 0)


def test_only_things_among_the_likeliest_pairs_are_instances() -> None:
    probabilities, masks = squares()
    assert [one.index for one in instances(probabilities, masks, [True, False], top=3)] == [0, 0]
    assert instances(probabilities, masks, [False, False]) == []


FRAMES = st.builds(
    lambda picture, content, more: Frame(
        picture, content, (content[0] + more[0], content[1] + more[1])
    ),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)


def in_two_steps(maps: Tensor, frame: Frame) -> Tensor:
    """Masks as the originals upsample them: to the input, cut to its content, to the picture."""
    at_input = F.interpolate(maps[None], frame.padded, mode="bilinear", align_corners=False)
    content = at_input[..., : frame.content[0], : frame.content[1]]
    return F.interpolate(content, frame.picture, mode="bilinear", align_corners=False)[0]


@settings(max_examples=examples(60))
@given(FRAMES, st.sampled_from([1, 90, 1 << 20]))
def test_strips_are_the_maps_upsampled_at_once(frame: Frame, most: int) -> None:
    maps = torch.randn(3, 4, 7)
    rows = list(strips(3, frame, most))
    parts = torch.cat([framed_rows(maps, frame, strip) for strip in rows], 1)
    torch.testing.assert_close(parts, in_two_steps(maps, frame))
    assert [row for strip in rows for row in range(strip.start, strip.stop)] == list(
        range(frame.picture[0])
    )


def test_a_strip_holds_no_more_values_than_it_may() -> None:
    frame = Frame((10, 40), (100, 20), (128, 32))  # 10 rows of the input for one of the picture
    assert {strip.stop - strip.start for strip in strips(3, frame, 3 * 320 * 2)} == {2}


def test_a_frame_s_masks_are_those_upsampled_before() -> None:
    probabilities, masks = squares()
    masks = masks + torch.randn(masks.shape)
    frame = Frame((30, 21), (26, 20), (32, 24))
    large = in_two_steps(masks, frame)
    ids, segments = panoptic(probabilities, masks, [True, False], frame=frame)
    expected, same = panoptic(probabilities, large, [True, False])
    assert torch.equal(ids, expected)
    assert segments == same
    assert all(isinstance(segment, PanopticSegment) for segment in segments)
    for one, other in zip(
        instances(probabilities, masks, [True, True], frame=frame),
        instances(probabilities, large, [True, True]),
        strict=True,
    ):
        assert torch.equal(one.mask, other.mask)
        assert one.score == pytest.approx(other.score, rel=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    probabilities, masks = squares()
    with pytest.raises(ValueError, match=r"expected probabilities \(5, 2\) of masks"):
        panoptic(probabilities, masks, [True])
    with pytest.raises(ValueError, match=r"expected probabilities \(4, 3\) of masks"):
        instances(probabilities, masks[:4], [True, False])
    with pytest.raises(ValueError, match="expected a top of at least 1, got 0"):
        instances(probabilities, masks, [True, False], top=0)
