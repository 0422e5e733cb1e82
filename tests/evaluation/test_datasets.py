"""Real readers under evaluate: label files of 8 and 16 bits, and each rule for the background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from data.miniature import folder, voc
from sparse_ovs.data import SegmentationDataset, open_dataset
from sparse_ovs.evaluation import Evaluation, evaluate
from sparse_ovs.text import Vocabulary

CASES = {
    "8 bits": ("folder", folder.narrow),
    "16 bits": ("folder", folder.wide),
    "voc20": ("voc20", voc.raw),
    "voc21": ("voc21", voc.raw),
    "voc20b": ("voc20b", voc.raw),
}


class _Knowing:
    """Answers with the labels, in order; where there are none, with what it is told to."""

    def __init__(self, dataset: SegmentationDataset, elsewhere: int) -> None:
        self.labels = [sample.labels for sample in dataset]
        self.elsewhere = elsewhere
        self.asked: Vocabulary | None = None

    def set_vocabulary(self, words: Vocabulary) -> None:
        self.asked = words

    def predict_labels(self, image: Image.Image) -> Tensor:
        labels = self.labels.pop(0)
        return torch.from_numpy(np.where(labels < 0, self.elsewhere, labels))


def _evaluate(root: Path, case: str, elsewhere: int) -> tuple[Evaluation, int]:
    name, make = CASES[case]
    expected = make(root, name)
    dataset = open_dataset(name, root)
    labelled = sum(int((labels >= 0).sum()) for labels in expected.values())
    return evaluate(_Knowing(dataset, elsewhere), dataset), labelled


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("elsewhere", [0, -1])
def test_the_labels_themselves_score_one_and_ignored_pixels_are_free(
    case: str, elsewhere: int, tmp_path: Path
) -> None:
    made, labelled = _evaluate(tmp_path, case, elsewhere)
    assert made.confusion.counts.sum() == labelled
    assert made.scores.miou == made.scores.pacc == 1


def test_voc20b_asks_for_pascal_context_s_names_and_takes_the_last_ones_as_background(
    tmp_path: Path,
) -> None:
    voc.raw(tmp_path, "voc20b")
    dataset = open_dataset("voc20b", tmp_path)
    knowing = _Knowing(dataset, 0)
    knowing.labels = [np.where(each == 20, 58, each) for each in knowing.labels]
    made = evaluate(knowing, dataset)
    assert knowing.asked is not None
    assert len(knowing.asked) == made.protocol.names_asked == 59
    assert made.protocol.classes == 21
    assert made.scores.by_class[20].iou == 1


def test_voc21_has_its_background_first(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc21")
    dataset = open_dataset("voc21", tmp_path)
    knowing = _Knowing(dataset, 0)
    knowing.labels = [np.where(each == 0, -1, each) for each in knowing.labels]
    assert evaluate(knowing, dataset).scores.by_class[0].iou == 1


def test_samples_that_are_made_smaller_are_told_in_the_protocol(tmp_path: Path) -> None:
    folder.narrow(tmp_path, "folder")
    dataset = open_dataset("folder", tmp_path)
    dataset.short_side = 2  # type: ignore[attr-defined]
    made = evaluate(_Knowing(dataset, 0), dataset)
    assert "above 2 pixels made 2" in made.protocol.scored_at
