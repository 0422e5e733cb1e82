"""One class a pixel from queries' masks, against all of them upsampled at once in fp64."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs import ops
from sparse_ovs.heads.frame import Frame
from sparse_ovs.ops import MaskWindow
from sparse_ovs.segmenter.decide import Decision
from sparse_ovs.segmenter.decide_masks import decide_masks
from sparse_ovs.threads import torch_threads
from support.examples import examples


@pytest.fixture(params=["native", "torch"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(ops, "decide_unsupported", lambda masks: ["asked not to"])
    return request.param


def queries(count: int, classes: int, cells: tuple[int, int], seed: int = 0) -> tuple[Tensor, ...]:
    """Probabilities with "no object" left out, and logits of either sign."""
    draw = torch.Generator().manual_seed(seed)
    made = (3 * torch.randn(count, classes + 1, generator=draw)).softmax(-1)[:, :-1]
    return made.contiguous(), 6 * torch.randn(count, *cells, generator=draw)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def plain(
    windows: Sequence[MaskWindow], frame: Frame, at_image: bool, dtype: torch.dtype
) -> Tensor:
    """(K, H, W): the order of the originals, word by word."""
    height, width = frame.content
    total = count = torch.zeros(())
    for top, left, h, w, probabilities, logits in windows:
        masks = upsampled(logits.to(dtype), (h, w))
        if at_image:
            masks = upsampled(masks[:, :height, :width], frame.picture)
            return torch.einsum("qk,qhw->khw", probabilities.to(dtype), masks.sigmoid())
        summed = torch.einsum("qk,qhw->khw", probabilities.to(dtype), masks.sigmoid())
        around = (left, frame.padded[1] - left - w, top, frame.padded[0] - top - h)
        total = total + F.pad(summed, around)
        count = count + F.pad(torch.ones(h, w), around)
    return upsampled((total / count)[:, :height, :width], frame.picture)


def check(made: Decision, windows: Sequence[MaskWindow], frame: Frame, at_image: bool) -> None:
    """As good as torch in fp32, up to what may be left out."""
    expected = plain(windows, frame, at_image, torch.float64)
    error = float((plain(windows, frame, at_image, torch.float32) - expected).abs().max())
    bound = 2 * error + 2e-6
    assert made.scores is not None
    assert made.confidence is not None
    assert float((made.scores - expected.clamp(max=1)).abs().max()) <= bound
    chosen = expected.gather(0, made.labels[None])[0]
    assert float((expected.amax(0) - chosen).max()) <= 2 * bound
    assert float((made.confidence - chosen.clamp(max=1)).abs().max()) <= 2 * bound


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
FRAMES = st.builds(
    lambda picture, content, more: Frame(
        picture, content, (content[0] + more[0], content[1] + more[1])
    ),
    SIZES,
    SIZES,
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)


@settings(max_examples=examples(80))
@given(
    FRAMES,
    st.integers(1, 12),
    st.integers(1, 9),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
    st.booleans(),
)
def test_masks_of_any_size_are_summed_as_the_originals_do(
    frame: Frame,
    count: int,
    classes: int,
    cells: tuple[int, int],
    at_image: bool,
    native: bool,
) -> None:
    windows = [MaskWindow(0, 0, *frame.padded, *queries(count, classes, cells))]
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(ops, "decide_unsupported", lambda masks: ["asked not to"])
        made = decide_masks(windows, frame, at_image, scores=True)
    check(made, windows, frame, at_image)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("at_image", [False, True])
def test_a_segmenter_s_sizes_give_the_originals_scores(at_image: bool) -> None:
    frame = Frame((131, 301), (69, 150), (96, 160))
    windows = [MaskWindow(0, 0, 96, 160, *queries(100, 21, (24, 40)))]
    check(decide_masks(windows, frame, at_image, scores=True), windows, frame, at_image)


@pytest.mark.usefixtures("form")
def test_sums_are_averaged_where_windows_overlap() -> None:
    frame = Frame((70, 45), (55, 90), (64, 96))
    windows = [
        MaskWindow(top, left, 64 - top, 32, *queries(5, 3, ((64 - top) // 4, 8), seed=left))
        for top in (0, 32)
        for left in (0, 16, 32, 64)
    ]
    check(decide_masks(windows, frame, False, scores=True), windows, frame, False)


def test_more_queries_and_classes_than_a_strip_holds_are_summed_natively() -> None:
    frame = Frame((5, 90), (6, 80), (8, 96))
    windows = [MaskWindow(0, 0, 8, 96, *queries(300, 2500, (2, 24)))]
    for at_image in (False, True):
        check(decide_masks(windows, frame, at_image, scores=True), windows, frame, at_image)


@pytest.mark.parametrize("at_image", [False, True])
def test_threads_change_no_bit(at_image: bool) -> None:
    frame = Frame((83, 119), (60, 90), (64, 96))
    windows = [MaskWindow(0, 0, 64, 96, *queries(30, 7, (16, 24)))]
    made = []
    for threads in (1, 2, 3):
        with torch_threads(threads):
            made.append(decide_masks(windows, frame, at_image, scores=True))
    for other in made[1:]:
        assert torch.equal(made[0].labels, other.labels)
        assert torch.equal(made[0].scores, other.scores)


def test_what_is_left_out_changes_no_score_by_a_millionth() -> None:
    frame = Frame((9, 9), (9, 9), (12, 12))
    probabilities, logits = queries(500, 3, (3, 3))
    probabilities[1:] *= 5e-8  # together up to 7e-6, which counts
    windows = [MaskWindow(0, 0, 12, 12, probabilities, logits.abs() + 20)]
    made = decide_masks(windows, frame, False, scores=True)
    expected = plain(windows, frame, False, torch.float64)
    assert made.scores is not None
    assert float((made.scores - expected).abs().max()) <= 1.5e-6


def test_queries_that_count_for_nothing_are_left_out() -> None:
    frame = Frame((9, 30), (9, 30), (12, 32))
    probabilities, logits = queries(40, 3, (3, 8))
    probabilities[::2] *= 1e-9
    both = [
        decide_masks([MaskWindow(0, 0, 12, 32, *chosen)], frame, False, scores=True).scores
        for chosen in ((probabilities, logits), (probabilities[1::2], logits[1::2]))
    ]
    assert torch.equal(*both)


def test_no_query_that_counts_leaves_scores_of_0() -> None:
    frame = Frame.of_size((4, 4))
    windows = [MaskWindow(0, 0, 4, 4, torch.zeros(2, 3), torch.randn(2, 1, 1))]
    for at_image in (False, True):
        made = decide_masks(windows, frame, at_image, scores=True)
        assert made.scores is not None
        assert made.scores.unique().tolist() == [0]
        assert made.labels.unique().tolist() == [0]


@pytest.mark.usefixtures("form")
def test_the_first_of_equal_classes_wins() -> None:
    frame = Frame.of_size((6, 5))
    windows = [MaskWindow(0, 0, 6, 5, torch.full((3, 4), 0.25), torch.randn(3, 2, 2))]
    assert decide_masks(windows, frame, False).labels.unique().tolist() == [0]


@pytest.mark.usefixtures("form")
def test_nan_stays_where_it_is() -> None:
    frame = Frame.of_size((8, 8))
    probabilities, logits = queries(3, 2, (2, 2))
    probabilities[1] = float("nan")
    windows = [MaskWindow(0, 0, 8, 8, probabilities, logits)]
    made = decide_masks(windows, frame, False, scores=True)
    assert made.scores is not None
    assert made.scores.isnan().all()


@pytest.mark.usefixtures("form")
def test_what_is_not_asked_for_is_not_made() -> None:
    frame = Frame.of_size((8, 8))
    made = decide_masks(
        [MaskWindow(0, 0, 8, 8, *queries(3, 2, (2, 2)))], frame, False, confidence=False
    )
    assert made.confidence is None
    assert made.scores is None


def test_arrays_with_gaps_are_read_as_they_are_meant() -> None:
    frame = Frame.of_size((8, 12))
    probabilities, logits = queries(4, 3, (3, 2))
    gaps = MaskWindow(0, 0, 8, 12, probabilities.T.contiguous().T, logits.mT.contiguous().mT)
    made = decide_masks([gaps], frame, False, scores=True)
    check(made, [MaskWindow(0, 0, 8, 12, probabilities, logits)], frame, False)


PEAK = """
import resource, torch
from sparse_ovs.heads.frame import Frame
from sparse_ovs.ops import MaskWindow
from sparse_ovs.segmenter.decide_masks import decide_masks
window = MaskWindow(0, 0, 1600, 2432, torch.rand(100, 2), torch.randn(100, 50, 76))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for at_image in (False, True):
    decide_masks([window], Frame.of_size((1600, 2432)), at_image)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_masks_are_never_held_at_the_picture_s_size() -> None:
    """All 100 would take 1,556 MB; the results, labels and confidence, take 47 MB of each order."""
    made = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(made.stdout) * 1024 < 150e6
