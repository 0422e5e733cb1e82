"""Pictures of a compression: whose classes are where, and when none are shown."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sparse_ovs.compression.pictures import masks_side_by_side
from sparse_ovs.compression.quality import Judge
from sparse_ovs.predictor.palette import colours
from support.small_clips import RN, small_backbone

NAMES = ("cat", "dog", "tree")


def pictures(theirs: Tensor, ours: Tensor, count: int = 1) -> list[np.ndarray]:
    """Of black images of 8 x 16 pixels, with these classes."""
    made = masks_side_by_side(
        torch.zeros(count, 3, 8, 16), lambda _: theirs, lambda _: ours, lambda out: out, NAMES
    )
    return [np.asarray(Image.open(io.BytesIO(png))) for png in made]


def test_classes_stand_where_they_win_in_both_encoders() -> None:
    theirs, ours = torch.tensor([[[0, 1]]]), torch.tensor([[[0, 2]]])
    (picture,) = pictures(theirs, ours)
    height, width = 192, 384
    table = colours(3)

    def at(panel: int, part: float) -> np.ndarray:
        pixel: np.ndarray = picture[height // 2, int((panel + part) * width)]
        return pixel

    assert not at(0, 0.5).any()  # the photo itself
    for panel, classes in ((1, (0, 1)), (2, (0, 2))):
        for part, index in zip((0.25, 0.75), classes, strict=True):
            assert np.allclose(at(panel, part), 0.55 * table[index], atol=2)


def test_the_legend_names_what_is_seen() -> None:
    few = pictures(torch.tensor([[[0, 0]]]), torch.tensor([[[0, 0]]]))[0]
    more = pictures(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 2]]]))[0]
    assert more.shape[0] > few.shape[0] > 192
    assert any((few == colours(3)[0]).all(2)[192:].ravel())
    assert not any((few == colours(3)[1]).all(2)[192:].ravel())


def test_a_few_images_are_enough() -> None:
    labels = torch.tensor([[[0, 1]]])
    assert len(pictures(labels, labels, count=9)) == 3


@pytest.mark.parametrize("vocabulary", [None, "cat; dog"])
def test_masks_of_random_weights_are_not_shown(vocabulary: str | None) -> None:
    judge = Judge(small_backbone(RN), torch.zeros(1, 3, 64, 64), vocabulary)
    assert not judge.tells_classes()
