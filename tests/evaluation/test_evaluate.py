"""evaluate: vocabulary, background, ignored pixels, several processes, and the protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest

from sparse_ovs.data.dataset import IGNORE
from sparse_ovs.evaluation import Evaluation, evaluate
from support.small_labels import Answering, Labels, noise

CLASSES = ("cat, kitten", "dog", "sky")


def _evaluate(
    labels: Any, answers: Any, classes: tuple[str, ...] = CLASSES, **options: Any
) -> Evaluation:
    """One image."""
    dataset = Labels([np.array(labels)], classes, **options)
    return evaluate(Answering(lambda _: np.array(answers)), dataset)


def test_the_segmenter_is_asked_for_the_classes_with_their_synonyms() -> None:
    segmenter = Answering(lambda _: np.zeros((1, 1)))
    evaluate(segmenter, Labels([np.zeros((1, 1))], CLASSES))
    assert segmenter.asked is not None
    assert segmenter.asked.classes == (("cat", "kitten"), ("dog",), ("sky",))


def test_predictions_on_pixels_without_a_label_are_free() -> None:
    labels = [[0, 0, IGNORE, IGNORE]]
    free, other = (_evaluate(labels, [[0, 0, *rest]]) for rest in ((0, 0), (1, -1)))
    assert free.scores.miou == other.scores.miou == 1
    assert free.scores.to_dict() == other.scores.to_dict()


def test_none_of_the_classes_is_a_miss_where_there_is_no_background() -> None:
    made = _evaluate([[0, 0, 1, IGNORE]], [[0, -1, 1, -1]])
    assert [entry.iou for entry in made.scores.by_class[:2]] == [0.5, 1]
    assert made.protocol.background.startswith("no class; predictions on pixels without a label")


def test_none_of_the_classes_is_the_background_where_there_is_one() -> None:
    made = _evaluate([[0, 0, 1]], [[-1, 0, 1]], ("nothing", "cat", "dog"), background="nothing")
    assert made.scores.pacc == 1
    assert made.protocol.background == "class 'nothing', asked for by that name"


def test_other_names_mean_the_background_where_the_protocol_asks_for_them() -> None:
    """VOC-20b: its classes first, then others; any of those is the background."""
    made = _evaluate(
        [[0, 1, 2, 2, 2, IGNORE]],
        [[0, 1, 2, 3, 4, 4]],
        ("cat", "dog", "nothing"),
        background="nothing",
        vocabulary=("cat", "dog", "sky", "grass", "sea"),
    )
    assert made.scores.miou == 1
    assert (made.protocol.classes, made.protocol.names_asked) == (3, 5)
    assert made.protocol.background == "asked for as 3 other names, each of which means 'nothing'"


@pytest.mark.parametrize(
    "options",
    [
        {"background": "sea"},
        {"vocabulary": ("cat", "dog", "sky", "grass")},
        {"background": "sky", "vocabulary": ("dog", "cat", "grass")},
        {"background": "dog", "vocabulary": ("cat, kitten", "dog", "grass", "sea")},
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected "):
        _evaluate([[0]], [[0]], **options)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[3, 0]], "labels, image image0: expected answers from -1 to 2, got 0 to 3"),
        ([[0]], "labels, image image0: expected a prediction of the labels' size"),
    ],
)
def test_answers_that_do_not_fit_name_the_image(answers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _evaluate([[0, 1]], answers)


def test_a_limit_scores_the_first_images_and_the_protocol_says_so() -> None:
    dataset = Labels(noise(3, 7), CLASSES)
    seen: list[tuple[int, int]] = []
    made = evaluate(
        Answering(lambda i: dataset.labels[i]),
        dataset,
        limit=3,
        on_image=lambda *numbers: seen.append(numbers),
    )
    assert (made.protocol.images, made.protocol.images_in_split) == (3, 7)
    assert made.confusion.counts.sum() == sum((each >= 0).sum() for each in dataset.labels[:3])
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "smp"}, "expected variant detectron2 or mmseg, got 'smp'"),
        ({"limit": 0}, "expected a limit of at least 1 image, got 0"),
    ],
)
def test_bad_arguments_are_told_before_an_image_is_read(
    options: dict[str, Any], message: str
) -> None:
    def never(_: int) -> np.ndarray:
        raise AssertionError

    with pytest.raises(ValueError, match=message):
        evaluate(Answering(never), Labels(noise(3, 2), CLASSES), **options)


def test_a_dataset_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="expected images in labels, got none"):
        evaluate(Answering(lambda _: np.zeros((1, 1))), Labels([], CLASSES))


def test_the_record_holds_the_protocol_beside_the_scores() -> None:
    record = json.loads(json.dumps(_evaluate([[0, 1]], [[0, 0]]).to_dict(), allow_nan=False))
    assert set(record) == {"protocol", "scores"}
    protocol = record["protocol"]
    assert protocol["variant"] == record["scores"]["variant"] == "detectron2"
    assert protocol["segmenter"] == {"kind": "Answering"}
    assert protocol["random_weights"] is None
    assert protocol["images"] == 1
    for field in ("dataset", "split", "classes", "background", "ignore", "scored_at", "processes"):
        assert field in protocol


class _Thread:
    """One of several processes, played by a thread: all meet at `gather`."""

    def __init__(self, index: int, count: int, meeting: Barrier, table: list[Any]) -> None:
        self.index, self.count = index, count
        self._meeting, self._table = meeting, table

    def gather(self, counts: np.ndarray) -> np.ndarray:
        self._table[self.index] = counts
        self._meeting.wait(30)
        return np.stack(self._table)


def _together(count: int, work: Callable[[_Thread], Evaluation]) -> list[Evaluation]:
    meeting, table = Barrier(count), [None] * count
    done: list[Any] = [None] * count

    def run(index: int) -> None:
        done[index] = work(_Thread(index, count, meeting, table))

    threads = [Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


@pytest.mark.parametrize("count", [2, 3, 9])
def test_several_processes_score_what_one_does(count: int) -> None:
    """Also where they outnumber the images, and where these do not divide evenly."""
    dataset = Labels(noise(3, 7), CLASSES)
    answers = noise(3, 7, seed=1)
    alone = evaluate(Answering(lambda i: answers[i]), dataset, seen=[0])
    each = _together(
        count,
        lambda own: evaluate(Answering(lambda i: answers[i]), dataset, seen=[0], processes=own),
    )
    for made in each:
        assert np.array_equal(made.confusion.counts, alone.confusion.counts)
        assert made.scores.to_dict() == alone.scores.to_dict()
        assert made.protocol.processes == count
