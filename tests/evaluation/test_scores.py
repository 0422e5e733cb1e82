"""Scores of hand-made counts, worked out on paper, in both public variants of mIoU."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.evaluation import Confusion, Scores, scores, seen_classes

# Rows: predicted a, b, c, none. Columns: labelled a, b, c.
TWO_CLASSES = [[6, 2, 0], [1, 3, 0], [0, 0, 0], [0, 0, 0]]  # c: absent, never predicted
FALSE_POSITIVES = [[6, 1, 0], [1, 3, 0], [0, 1, 0], [0, 0, 0]]  # c: absent, predicted once
NONE = [[6, 0, 0], [0, 3, 0], [0, 0, 2], [2, 1, 0]]  # three pixels told to be of no class


def _scores(counts: list[list[int]], variant: str, seen: list[int] | None = None) -> Scores:
    return scores(Confusion(np.array(counts)), ("a", "b", "c"), variant, seen)


@pytest.mark.parametrize("variant", ["detectron2", "mmseg"])
def test_a_class_that_is_neither_labelled_nor_predicted_is_left_out(variant: str) -> None:
    made = _scores(TWO_CLASSES, variant)
    # a: 6 / (7 + 8 - 6); b: 3 / (5 + 4 - 3).
    assert made.miou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert made.counted == 2
    assert made.pacc == pytest.approx(9 / 12)
    assert made.macc == pytest.approx((6 / 7 + 3 / 5) / 2)
    assert made.fwiou == pytest.approx((7 * 6 / 9 + 5 * 3 / 6) / 12)
    assert math.isnan(made.by_class[2].iou)
    assert math.isnan(made.by_class[2].accuracy)


def test_a_class_of_false_positives_alone_counts_zero_in_mmseg_and_not_at_all_in_detectron2() -> (
    None
):
    a, b = 6 / (7 + 7 - 6), 3 / (5 + 4 - 3)
    d2, mmseg = (_scores(FALSE_POSITIVES, variant) for variant in ("detectron2", "mmseg"))
    assert d2.miou == pytest.approx((a + b) / 2)
    assert mmseg.miou == pytest.approx((a + b + 0) / 3)
    assert (d2.counted, mmseg.counted) == (2, 3)
    assert math.isnan(d2.by_class[2].iou)
    assert mmseg.by_class[2].iou == 0


def test_the_other_scores_are_the_same_in_both_variants() -> None:
    d2, mmseg = (_scores(FALSE_POSITIVES, variant) for variant in ("detectron2", "mmseg"))
    assert (d2.pacc, d2.macc, d2.fwiou) == (mmseg.pacc, mmseg.macc, mmseg.fwiou)
    assert d2.macc == pytest.approx((6 / 7 + 3 / 5) / 2)


@pytest.mark.parametrize("variant", ["detectron2", "mmseg"])
def test_pixels_told_to_be_of_no_class_are_missed_and_of_nobody_s_predictions(variant: str) -> None:
    made = _scores(NONE, variant)
    assert [entry.iou for entry in made.by_class] == [6 / 8, 3 / 4, 1]
    assert made.pacc == 11 / 14
    assert [entry.pixels for entry in made.by_class] == [8, 4, 2]


@given(st.integers(2, 6), st.integers(0, 999))
def test_scores_are_those_of_sets_of_pixels(classes: int, seed: int) -> None:
    """An independent way: sets of pixels, one class after another, in pure Python."""
    random = np.random.default_rng(seed)
    predicted, labels = random.integers(-1, classes, (2, 12)).tolist()
    counted = [i for i, label in enumerate(labels) if label >= 0]
    iou: dict[str, list[float]] = {"detectron2": [], "mmseg": []}
    for c in range(classes):
        truth = {i for i in counted if labels[i] == c}
        answer = {i for i in counted if predicted[i] == c}
        if truth:
            iou["detectron2"].append(len(truth & answer) / len(truth | answer))
        if truth | answer:
            iou["mmseg"].append(len(truth & answer) / len(truth | answer))
    confusion = Confusion.empty(classes)
    confusion.add(np.array(predicted), np.array(labels))
    names = [str(c) for c in range(classes)]
    for variant, values in iou.items():
        made = scores(confusion, names, variant)
        if values:
            assert made.miou == pytest.approx(sum(values) / len(values))
        assert made.counted == len(values)


def test_perfect_predictions_score_one() -> None:
    made = _scores([[6, 0, 0], [0, 3, 0], [0, 0, 2], [0, 0, 0]], "detectron2")
    assert (made.miou, made.fwiou, made.macc, made.pacc) == (1, 1, 1, 1)


def test_no_labelled_pixels_give_no_number() -> None:
    made = _scores([[0] * 3] * 4, "mmseg")
    assert all(math.isnan(v) for v in (made.miou, made.fwiou, made.macc, made.pacc))
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["miou"] is None


def test_seen_and_unseen_classes_have_means_of_their_own() -> None:
    made = _scores(FALSE_POSITIVES, "mmseg", seen=[0])
    a, b = 6 / 8, 3 / 6
    assert made.seen == pytest.approx(a)
    assert made.unseen == pytest.approx(b / 2)
    assert made.harmonic == pytest.approx(2 * a * (b / 2) / (a + b / 2))
    assert _scores(FALSE_POSITIVES, "detectron2", seen=[0]).unseen == pytest.approx(b)


def test_without_seen_classes_there_is_no_split() -> None:
    made = _scores(TWO_CLASSES, "detectron2")
    assert (made.seen, made.unseen, made.harmonic) == (None, None, None)


def test_where_all_classes_are_seen_the_unseen_have_no_number() -> None:
    made = _scores(TWO_CLASSES, "detectron2", seen=[0, 1, 2])
    assert made.seen == made.miou
    assert made.unseen is not None
    assert math.isnan(made.unseen)
    assert made.to_dict()["harmonic"] is None


def test_a_class_is_seen_by_any_of_its_synonyms() -> None:
    classes = ("sofa, couch", "pot plant", "sky", "cat", "Tie")
    trained = ["couch,settee", "pot plant, plant", "skyscraper", "tie"]  # a tie is no Tie
    assert seen_classes(classes, trained) == [0, 1]


def test_large_counts_stay_exact() -> None:
    """More pixels than float32 or int32 can count."""
    big = 2**40
    made = _scores([[big, 0, 0], [1, big, 0], [0, 0, 0], [0, 0, 0]], "detectron2")
    assert made.by_class[0].pixels == big + 1
    assert made.pacc == 2 * big / (2 * big + 1)


@pytest.mark.parametrize(
    ("names", "variant", "seen", "message"),
    [
        (("a", "b", "c"), "smp", None, "expected variant detectron2 or mmseg, got 'smp'"),
        (("a", "b"), "mmseg", None, "expected 3 names, got 2"),
        (("a", "b", "c"), "mmseg", [3], "expected seen classes below 3, got 3"),
    ],
)
def test_bad_arguments_are_refused(
    names: tuple[str, ...], variant: str, seen: list[int] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scores(Confusion(np.array(TWO_CLASSES)), names, variant, seen)
