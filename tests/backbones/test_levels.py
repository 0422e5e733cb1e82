"""What maps a backbone can give, and how CLIP pools them: what heads ask instead of its class."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs.backbones import Level
from support.small_clips import CONVNEXT, RN, VIT, small_backbone


@pytest.mark.parametrize(
    ("name", "strides"),
    [(RN, [2, 4, 8, 16, 32]), (VIT, [8] * 4), (CONVNEXT, [4, 8, 16, 32])],
)
def test_levels_are_all_maps_with_their_strides(name: str, strides: list[int]) -> None:
    levels = small_backbone(name).levels()
    assert [level.stride for level in levels] == strides
    assert [level.index for level in levels] == list(range(len(strides)))


@pytest.mark.parametrize("name", [RN, VIT, CONVNEXT])
def test_a_level_that_was_selected_has_the_channels_and_the_stride_that_it_says(name: str) -> None:
    backbone = small_backbone(name)
    for level in backbone.levels():
        backbone.select((level.index,))
        with torch.no_grad():
            (found,) = backbone(torch.zeros(1, 3, 64, 96))
        assert found.shape == (1, level.channels, 64 // level.stride, 96 // level.stride)


def test_selecting_maps_leaves_the_levels_as_they_are() -> None:
    backbone = small_backbone(RN)
    before = backbone.levels()
    backbone.select((2,))
    assert backbone.levels() == before


def test_a_level_names_the_module_that_makes_it() -> None:
    level = small_backbone(RN).levels()[1]
    assert isinstance(level, Level)
    assert level.module == "layer1"


def test_a_dilated_encoder_says_the_strides_that_it_has() -> None:
    backbone = small_backbone(RN, output_stride=8)
    assert [level.stride for level in backbone.levels()] == [2, 4, 8, 8, 8]


def test_backbones_say_how_clip_pools_their_maps() -> None:
    found = {name: small_backbone(name).pooling for name in (RN, VIT, CONVNEXT)}
    assert found == {RN: "attention", VIT: "last block", CONVNEXT: "mean"}


def test_resnets_alone_dilate() -> None:
    assert [small_backbone(name).dilates for name in (RN, VIT, CONVNEXT)] == [True, False, False]
