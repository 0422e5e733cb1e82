"""One class a pixel: the same as upsampling everything at once, natively and in torch's chunks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs import ops
from sparse_ovs.heads.frame import Frame
from sparse_ovs.segmenter import decide as module
from sparse_ovs.segmenter.decide import Decision, decide
from sparse_ovs.threads import torch_threads


@pytest.fixture(params=["native", "torch"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(ops, "decide_unsupported", lambda grid: ["asked not to"])
    return request.param


def check(made: Decision, grid: torch.Tensor, size: tuple[int, int]) -> None:
    """Of logits, against everything upsampled at once in double precision."""
    large = F.interpolate(grid[None].double(), size, mode="bilinear", align_corners=False)[0]
    expected = large.softmax(0).float()
    assert made.scores is not None
    assert made.confidence is not None
    torch.testing.assert_close(made.scores, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.confidence, expected.amax(0), rtol=1e-4, atol=1e-5)
    # Near a tie, rounding may choose either.
    chosen = large.gather(0, made.labels[None])[0]
    torch.testing.assert_close(chosen, large.amax(0), rtol=1e-4, atol=1e-5)


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "decide_unsupported", lambda grid: ["asked not to"])
        patch.setattr(module, "MOST_VALUES", most)
        made = decide(grid, Frame.of_size(size), class_chunk, logits=True, scores=True)
    check(made, grid, size)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 20)),
    st.tuples(st.integers(1, 40), st.integers(1, 70)),
)
def test_the_native_form_upsamples_as_torch_does(
    shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    grid = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert not ops.decide_unsupported(grid)
    check(decide(grid, Frame.of_size(size), 1, logits=True, scores=True), grid, size)


@pytest.mark.usefixtures("form")
def test_padding_is_left_out() -> None:
    cells = torch.arange(8.0).repeat(2, 1)  # a ramp over 8 cells of 4 pixels
    grid = torch.stack([cells, 10 - cells])
    frame = Frame((6, 44), (6, 22), (8, 32))  # the picture lies over 5.5 of them
    made = decide(grid, frame, 64, logits=False, scores=True)
    expected = ((torch.arange(44) + 0.5) / 8 - 0.5).clamp(0)
    assert made.scores is not None
    torch.testing.assert_close(
        made.scores, torch.stack([expected, 10 - expected])[:, None].repeat(1, 6, 1).clamp(max=1)
    )
    assert made.labels[0].tolist() == [0 if x > 5 else 1 for x in expected.tolist()]


def test_more_classes_than_a_strip_holds_are_decided_natively() -> None:
    grid = torch.randn(3000, 3, 4, generator=torch.Generator().manual_seed(2))
    check(decide(grid, Frame.of_size((9, 130)), 64, logits=True, scores=True), grid, (9, 130))


def test_threads_change_nothing_of_what_is_decided() -> None:
    grid = torch.randn(7, 20, 30, generator=torch.Generator().manual_seed(3))
    made = []
    for threads in (1, 2):
        with torch_threads(threads):
            made.append(decide(grid, Frame.of_size((81, 119)), 64, logits=True, scores=True))
    assert torch.equal(made[0].labels, made[1].labels)
    assert torch.equal(made[0].scores, made[1].scores)


@pytest.mark.usefixtures("form")
def test_sums_above_1_decide_but_are_told_as_1() -> None:
    grid = torch.tensor([1.2, 1.6, 0.3])[:, None, None]
    made = decide(grid, Frame.of_size((2, 2)), 2, logits=False, scores=True)
    assert made.labels.unique().tolist() == [1]
    assert made.confidence is not None
    assert made.scores is not None
    assert made.confidence.unique().tolist() == [1.0]
    assert made.scores[:, 0, 0].tolist() == pytest.approx([1.0, 1.0, 0.3])


def test_what_is_no_fp32_on_a_cpu_has_no_kernel() -> None:
    assert ops.decide_unsupported(torch.zeros(1, 1, 1, dtype=torch.float64)) == [
        "float64 has no CPU kernel"
    ]
    assert ops.decide_unsupported(torch.zeros(1, 1, 1, device="meta")) == ["meta has no kernel"]


@pytest.mark.usefixtures("form")
def test_the_first_of_equal_classes_wins() -> None:
    made = decide(torch.zeros(5, 2, 2), Frame.of_size((4, 4)), 2, logits=True)
    assert made.labels.unique().tolist() == [0]


@pytest.mark.usefixtures("form")
def test_scores_that_are_probabilities_stay_as_they_are() -> None:
    grid = torch.tensor([0.2, 0.5, 0.1])[:, None, None]
    made = decide(grid, Frame.of_size((1, 2)), 2, logits=False, scores=True)
    assert made.labels.tolist() == [[1, 1]]
    assert made.confidence is not None
    assert made.scores is not None
    torch.testing.assert_close(made.confidence, torch.full((1, 2), 0.5))
    torch.testing.assert_close(made.scores, grid.expand(3, 1, 2))


@pytest.mark.usefixtures("form")
def test_what_is_not_asked_for_is_not_made() -> None:
    made = decide(torch.randn(3, 2, 2), Frame.of_size((4, 4)), 2, logits=True, confidence=False)
    assert made.confidence is None
    assert made.scores is None


def test_a_chunk_of_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a class_chunk of at least 1, got 0"):
        decide(torch.randn(3, 2, 2), Frame.of_size((4, 4)), 0, logits=True)
