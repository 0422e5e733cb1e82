"""Heads by name, and the backbones they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparse_ovs import Segmenter, create_backbone, create_segmenter
from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import (
    HEADS,
    MaskCLIP,
    PixelHead,
    Sizes,
    create_head,
    find_head,
    register_head,
)
from sparse_ovs.text import TextEmbeddings
from support.small_clips import RN, VIT, small_backbone


def test_every_head_is_known_by_its_own_name() -> None:
    assert all(find_head(name).name == name for name in HEADS)


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a head of maskclip.*, got 'maskclop'"):
        find_head("maskclop")


@pytest.mark.parametrize(("name", "indices"), [(RN, (1, 2)), (VIT, (0, 1, 3))])
def test_a_backbone_that_lacks_the_maps_is_refused(name: str, indices: tuple[int, ...]) -> None:
    backbone = small_backbone(name, out_indices=indices)
    with pytest.raises(ValueError, match=r"expected a backbone that gives features .* for maskcl"):
        create_head("maskclip", backbone)


def test_maskclip_refuses_a_convnext() -> None:
    backbone = create_backbone("convnext_tiny")
    with pytest.raises(
        ValueError, match="expected a CLIP ResNet or ViT, which pools values, got 'convn"
    ):
        create_head("maskclip", backbone)


def test_a_head_is_made_for_evaluation() -> None:
    assert not create_head("maskclip", small_backbone()).training


def test_sizes_of_a_head_are_refused_where_it_has_none() -> None:
    with pytest.raises(ValueError, match="expected sizes of maskclip among none at all, got 'dim'"):
        create_head("maskclip", small_backbone(), {"dim": 64})


def test_sizes_have_names() -> None:
    with pytest.raises(ValueError, match="expected sizes of maskclip of paper, got 'huge'"):
        create_head("maskclip", small_backbone(), "huge")


@pytest.fixture
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes back what a test registers."""
    for name in ("mean", "other"):
        monkeypatch.setitem(HEADS, name, MaskCLIP)
        monkeypatch.delitem(HEADS, name)


class Mean(PixelHead):
    """Every class scores the mean of the last map."""

    name = "mean"
    learns = False

    @classmethod
    def needed_indices(cls, backbone: Backbone) -> tuple[int, ...]:
        return (backbone.levels()[-1].index,)

    def __init__(self, backbone: Backbone, sizes: Sizes | None = None) -> None:
        super().__init__(backbone, sizes)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> Tensor:
        (last,) = self.needed(features)
        return last.mean(1, keepdim=True).expand(-1, len(text.vocabulary), -1, -1) + self.bias


@pytest.mark.usefixtures("only_ours")
class TestAHeadOfYourOwn:
    """register_head."""

    def test_a_registered_head_makes_a_segmenter_by_its_name(self, tmp_path: Path) -> None:
        assert register_head(Mean) is Mean
        assert find_head("mean") is Mean
        backbone = small_backbone(RN)
        backbone.clip.random_parts = ()
        made = create_segmenter("mean", backbone, size=64)
        photo = np.zeros((64, 96, 3), np.uint8)
        assert made.predict(photo, "cat; dog").sem_seg.shape == (64, 96)
        made.save_pretrained(tmp_path)
        assert type(Segmenter.from_pretrained(tmp_path).head) is Mean

    def test_a_name_is_taken_once(self) -> None:
        register_head(Mean)
        with pytest.raises(ValueError, match=r"new name for head Mean, got 'mean', which is"):
            register_head(Mean)

    def test_no_head_of_the_library_is_replaced(self) -> None:
        thief = type("Thief", (Mean,), {"name": "maskclip"})
        with pytest.raises(ValueError, match=r"got 'maskclip', which is .*maskclip\.MaskCLIP"):
            register_head(thief)
        assert find_head("maskclip") is MaskCLIP

    @pytest.mark.parametrize("name", [None, 3, "", "two words", "-dash", "a/b"])
    def test_a_name_that_is_none_is_refused(self, name: Any) -> None:
        kind = type("Odd", (Mean,), {"name": name})
        with pytest.raises(ValueError, match=r"expected a `name` of letters, .* head Odd, got"):
            register_head(kind)

    @pytest.mark.parametrize("kind", ["maskclip", nn.Linear, 3])
    def test_what_is_no_class_of_heads_is_refused(self, kind: Any) -> None:
        with pytest.raises(TypeError, match="expected a subclass of Head, got"):
            register_head(kind)

    def test_a_head_that_lacks_methods_is_refused(self) -> None:
        class Half(PixelHead):
            name = "other"

        with pytest.raises(TypeError, match="got Half without forward, needed_indices"):
            register_head(Half)
        assert "other" not in HEADS

    def test_a_head_says_whether_it_gives_probabilities(self) -> None:
        kind = type("Silent", (Mean,), {"name": "other", "probabilities": None})
        with pytest.raises(TypeError, match=r"expected `probabilities` of True or False .* Silent"):
            register_head(kind)

    def test_a_head_has_the_papers_sizes(self) -> None:
        kind = type("Sizeless", (Mean,), {"name": "other", "presets": {}})
        with pytest.raises(ValueError, match=r"expected presets with 'paper' .* Sizeless, got n"):
            register_head(kind)
