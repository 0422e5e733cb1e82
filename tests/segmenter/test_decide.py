"""One class a pixel: the same as enlarging everything at once, whatever the chunks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.segmenter import decide as module
from sparse_ovs.segmenter.decide import decide


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6)),
    st.tuples(st.integers(1, 40), st.integers(1, 30)),
    st.integers(1, 10),
    st.integers(1, 500),
)
def test_chunks_and_strips_change_nothing(
    shape: tuple[int, int, int], size: tuple[int, int], class_chunk: int, most: int
) -> None:
    grid = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    large = F.interpolate(grid[None], size, mode="bilinear", align_corners=False)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_VALUES", most)
        made = decide(grid, size, class_chunk, logits=True, scores=True)
    expected = large.softmax(0)
    assert made.scores is not None
    assert made.confidence is not None
    torch.testing.assert_close(made.scores, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.confidence, expected.amax(0), rtol=1e-4, atol=1e-5)
    # Near a tie, rounding may choose either.
    chosen = large.gather(0, made.labels[None])[0]
    torch.testing.assert_close(chosen, large.amax(0), rtol=1e-4, atol=1e-5)


def test_the_first_of_equal_classes_wins() -> None:
    made = decide(torch.zeros(5, 2, 2), (4, 4), 2, logits=True)
    assert made.labels.unique().tolist() == [0]


def test_scores_that_are_probabilities_stay_as_they_are() -> None:
    grid = torch.tensor([0.2, 0.5, 0.1])[:, None, None]
    made = decide(grid, (1, 2), 2, logits=False, scores=True)
    assert made.labels.tolist() == [[1, 1]]
    assert made.confidence is not None
    assert made.scores is not None
    torch.testing.assert_close(made.confidence, torch.full((1, 2), 0.5))
    torch.testing.assert_close(made.scores, grid.expand(3, 1, 2))


def test_what_is_not_asked_for_is_not_made() -> None:
    made = decide(torch.randn(3, 2, 2), (4, 4), 2, logits=True, confidence=False)
    assert made.confidence is None
    assert made.scores is None


def test_a_chunk_of_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a class_chunk of at least 1, got 0"):
        decide(torch.randn(3, 2, 2), (4, 4), 0, logits=True)
