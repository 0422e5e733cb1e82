"""A task of one's own: one class, one registration, run by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparse_ovs import Segmenter, create_segmenter
from sparse_ovs.predictor import TASKS, Predictor, Task, find_task, register_task
from sparse_ovs.segmenter import Options
from support.small_clips import RN, VIT, small_backbone

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


@dataclass(frozen=True)
class Brightest(Task[Predictor]):
    """Where the last map is largest, in pixels of its input, and the words asked for."""

    name = "brightest"
    needs = Predictor
    times: int = 1

    def check(self, predictor: Predictor) -> None:
        if self.times < 1:
            raise ValueError(f"expected times of at least 1, got {self.times}")

    def start(self, predictor: Predictor) -> Callable[[Image.Image], Any]:
        classes, text = predictor.classes_and_text()
        stride = predictor.backbone.levels()[-1].stride

        def one(picture: Image.Image) -> tuple[int, int, tuple[str, ...], int]:
            *_, last = predictor.encode(predictor.to_input(picture))
            row, column = divmod(int(last[0].sum(0).argmax()), last.shape[3])
            place = (stride * row * self.times, stride * column * self.times)
            return (*place, classes.names, len(text.vocabulary))

        return one


@pytest.fixture(autouse=True)
def only_ours() -> Iterator[None]:
    """Registers the task, and takes back what a test registers."""
    before = dict(TASKS)
    register_task(Brightest)
    yield
    for name in set(TASKS) - set(before):
        del TASKS[name]


def predictor(name: str = RN, **options: Any) -> Predictor:
    return Predictor(small_backbone(name), Options(**{"size": 64, **options}))


def segmenter(**options: Any) -> Segmenter:
    backbone = small_backbone(RN)
    backbone.clip.random_parts = ()
    return create_segmenter("maskclip", backbone, **{"size": 64, **options})


def test_a_registered_task_runs_by_its_name_through_a_segmenter() -> None:
    found = segmenter().run("brightest", PHOTO, "cat, kitten; dog")
    assert found[2:] == (("cat", "dog"), 2)
    assert found[0] in (0, 32)
    assert found[1] in (0, 32, 64)


@pytest.mark.parametrize("name", [RN, VIT])
def test_a_task_needs_no_segmentation_head(name: str) -> None:
    made = predictor(name)
    row, column, *_ = made.run("brightest", PHOTO, "cat; dog")
    x = made.to_input(Image.fromarray(PHOTO))
    with torch.no_grad():
        last = made.backbone(x)[-1][0].sum(0)
    stride = made.backbone.levels()[-1].stride
    assert float(last[row // stride, column // stride]) == float(last.max())


def test_a_compiled_encoder_does_the_same_task() -> None:
    plain = predictor().run("brightest", PHOTO, "cat; dog")
    fast = Predictor(small_backbone(RN), Options(size=64), fast=True)
    assert fast.run("brightest", PHOTO, "cat; dog") == plain


def test_options_of_a_task_are_its_fields() -> None:
    once = predictor().run("brightest", PHOTO, "cat; dog")
    twice = predictor().run("brightest", PHOTO, "cat; dog", times=2)
    assert twice[:2] == (2 * once[0], 2 * once[1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'tiems'"):
        predictor().run("brightest", PHOTO, "cat; dog", tiems=2)


def test_several_images_give_a_list_of_results() -> None:
    made = predictor().set_vocabulary("cat; dog")
    one = made.run("brightest", PHOTO)
    assert made.run("brightest", [PHOTO, Image.fromarray(PHOTO)]) == [one, one]
    assert made.run("brightest", np.stack([PHOTO, PHOTO])) == [one, one]


def test_a_task_is_checked_before_words_are_embedded() -> None:
    made = predictor().set_vocabulary("cat; dog")
    with pytest.raises(ValueError, match="expected times of at least 1, got 0"):
        made.run("brightest", PHOTO, "sky", times=0)
    assert made.vocabulary is not None
    assert made.vocabulary.names == ("cat", "dog")


def test_a_segmenter_whose_head_has_no_masks_keeps_its_words_when_it_refuses() -> None:
    made = segmenter().set_vocabulary("cat; dog")
    with pytest.raises(ValueError, match="expected a head that predicts masks for panoptic"):
        made.predict_panoptic(PHOTO, "sky")
    assert made.vocabulary is not None
    assert made.vocabulary.names == ("cat", "dog")


def test_a_task_that_needs_words_says_that_there_are_none() -> None:
    with pytest.raises(ValueError, match="expected a vocabulary, got none: call set_vocabulary"):
        predictor().run("brightest", PHOTO)


def test_a_predictor_refuses_the_tasks_of_other_predictors() -> None:
    with pytest.raises(ValueError, match="a Segmenter for task 'semantic', got a Predictor"):
        predictor().run("semantic", PHOTO, "cat; dog")


def test_the_methods_of_a_segmenter_are_tasks() -> None:
    made = segmenter()
    expected = made.predict(PHOTO, "cat; dog", scores=True)
    found = made.run("semantic", PHOTO, scores=True)
    assert torch.equal(found.sem_seg, expected.sem_seg)
    assert torch.equal(found.scores, expected.scores)
    assert {"semantic", "panoptic", "instances"} <= set(TASKS)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a task of semantic, .*, got 'depth'"):
        segmenter().run("depth", PHOTO)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="new name for task Brightest, got 'brightest', which is"):
        register_task(Brightest)
    assert find_task("brightest") is Brightest


def test_a_task_says_what_predictor_it_needs() -> None:
    kind = type("Odd", (Brightest,), {"name": "odd", "needs": None})
    with pytest.raises(TypeError, match="class that task Odd `needs`, got None"):
        register_task(kind)
    assert "odd" not in TASKS


@pytest.mark.parametrize("kind", [Predictor, "semantic"])
def test_what_is_no_class_of_tasks_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="expected a subclass of Task, got"):
        register_task(kind)


def test_a_task_without_a_start_is_refused() -> None:
    class Idle(Task[Predictor]):
        name = "idle"
        needs = Predictor

    with pytest.raises(TypeError, match="expected a whole task, got Idle without start"):
        register_task(Idle)
