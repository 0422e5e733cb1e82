"""Evaluations that were killed go on where they were, and end as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse_ovs import create_segmenter
from sparse_ovs.evaluation import evaluate, unfinished
from sparse_ovs.formats import FileFormatError
from sparse_ovs.loop import PlaceInUse, hold_file
from sparse_ovs.segmenter import RandomWeightsWarning
from support.small_clips import small_backbone
from support.small_labels import Answering, Labels, noise

CLASSES = ("a", "b", "c")
LABELS, ANSWERS = noise(3, 6), noise(3, 6, seed=1)


class _Killed(Exception):
    pass


class _Part:
    """One of two processes, whose other one has nothing to say."""

    index, count = 1, 2

    def gather(self, counts: np.ndarray) -> np.ndarray:
        return counts[None]


@pytest.fixture(autouse=True)
def _written_after_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "_SECONDS", 0.0)


def _run(path: Path, asked: list[int], until: int = 99, **options: Any) -> Any:
    """Killed when it is asked for the image number `until`."""

    def answer(index: int) -> np.ndarray:
        if index >= until:
            raise _Killed
        asked.append(index)
        return ANSWERS[index]

    return evaluate(Answering(answer), Labels(LABELS, CLASSES), unfinished=path, **options)


def _kill(path: Path, until: int, **options: Any) -> list[int]:
    asked: list[int] = []
    with pytest.raises(_Killed):
        _run(path, asked, until, **options)
    return asked


def test_a_killed_run_goes_on_and_ends_with_the_same_counts(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    assert _kill(path, 4) == [0, 1, 2, 3]
    asked: list[int] = []
    resumed = _run(path, asked)
    assert asked == [4, 5]
    whole = evaluate(Answering(lambda i: ANSWERS[i]), Labels(LABELS, CLASSES))
    assert np.array_equal(resumed.confusion.counts, whole.confusion.counts)
    assert not list(tmp_path.iterdir())


def test_each_process_keeps_its_own_counts(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    assert _kill(path, 5, processes=_Part()) == [1, 3]
    assert [each.name for each in tmp_path.iterdir()] == ["counts.1of2"]
    asked: list[int] = []
    _run(path, asked, processes=_Part())
    assert asked == [5]


def test_another_run_that_keeps_its_counts_there_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    _kill(path, 4)
    with hold_file(tmp_path / "counts.0of1"):
        before = (tmp_path / "counts.0of1").read_bytes()
        asked: list[int] = []
        with pytest.raises(PlaceInUse, match=r"expected a file that .*counts\.0of1, in use by"):
            _run(path, asked)
        assert not asked
        assert (tmp_path / "counts.0of1").read_bytes() == before
    _run(path, asked)
    assert asked == [4, 5]


def test_counts_are_held_as_long_as_images_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "counts"

    def also(done: int, _: int) -> None:
        with pytest.raises(PlaceInUse):
            _run(path, [])

    assert _run(path, [], on_image=also).protocol.images == 6


def test_between_writes_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "_SECONDS", 1000.0)
    _kill(tmp_path / "counts", 4)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"variant": "mmseg"}, {"limit": 5}, {"split": "train"}])
def test_counts_of_another_protocol_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    _kill(tmp_path / "counts", 4)
    with pytest.raises(FileFormatError, match="expected counts of the same protocol and weights"):
        _run(tmp_path / "counts", [], **options)


def test_counts_of_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.warns(RandomWeightsWarning):
        segmenter = create_segmenter("maskclip", small_backbone(), size=64)
    dataset = Labels(LABELS, CLASSES)

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise _Killed

    with pytest.raises(_Killed):
        evaluate(segmenter, dataset, unfinished=tmp_path / "counts", on_image=stop)
    weight = segmenter.backbone.layer4[0].conv1.weight
    kept = weight.detach().clone()
    weight.data[0, 0] += 1
    with pytest.raises(FileFormatError, match="got those of another evaluation"):
        evaluate(segmenter, dataset, unfinished=tmp_path / "counts")
    weight.data.copy_(kept)
    made = evaluate(segmenter, dataset, unfinished=tmp_path / "counts")
    assert made.confusion.counts.sum() == sum((each >= 0).sum() for each in LABELS)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "counts.0of1").write_bytes(b"no counts")
    with pytest.raises(FileFormatError, match="expected a whole safetensors file"):
        _run(tmp_path / "counts", [])
