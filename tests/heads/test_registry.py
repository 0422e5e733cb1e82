"""Heads by name, and the backbones they refuse."""

from __future__ import annotations

import pytest

from sparse_ovs import create_backbone
from sparse_ovs.heads import HEADS, create_head, find_head
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
    with pytest.raises(ValueError, match="expected a CLIP ResNet or ViT for maskclip, got 'convn"):
        create_head("maskclip", backbone)


def test_a_head_is_made_for_evaluation() -> None:
    assert not create_head("maskclip", small_backbone()).training


def test_sizes_of_a_head_are_refused_where_it_has_none() -> None:
    with pytest.raises(ValueError, match="expected sizes of maskclip among none at all, got 'dim'"):
        create_head("maskclip", small_backbone(), {"dim": 64})


def test_sizes_have_names() -> None:
    with pytest.raises(ValueError, match="expected sizes of maskclip of paper, got 'huge'"):
        create_head("maskclip", small_backbone(), "huge")
