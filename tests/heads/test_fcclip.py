"""fcclip: what counts as seen, and CLIP's layers that it shares with its backbone."""

from __future__ import annotations

import torch

from sparse_ovs.heads import FCCLIP
from sparse_ovs.text import Vocabulary
from support.small_mask_heads import WORDS, draws, small_head, small_maps


def head_of(name: str = "fcclip") -> FCCLIP:
    head, _, _ = small_head(name)
    assert isinstance(head, FCCLIP)
    return head


def test_a_class_is_seen_if_any_of_its_names_was() -> None:
    head = head_of()
    assert head.clip_weights(WORDS).tolist() == [0.8, 0.8, 0.8, 0.8]
    head.seen = ("clouds", "dog", "tree")
    assert head.clip_weights(WORDS).tolist() == [0.8, 0.4, 0.4, 0.8]


def test_names_of_another_case_are_other_classes() -> None:
    """FC-CLIP compares strings: what it was shown as "tie" says nothing of "Tie"."""
    head = head_of()
    head.seen = ("tie", "Dog")
    words = Vocabulary.parse(["Tie", "tie", "dog, Dog"])
    assert head.clip_weights(words).tolist() == [0.8, 0.4, 0.4]


def test_training_leaves_clips_layers_alone() -> None:
    head, backbone, text = small_head("fcclip")
    output = head.train()(small_maps(backbone), text)
    head.losses(output, torch.randint(-1, 4, (2, 64, 96)), draws(2))["loss"].backward()
    assert all(p.grad is None for p in backbone.clip.model.parameters())
    assert not {id(p) for p in head.parameters()} & {
        id(p) for p in backbone.clip.model.parameters()
    }


@torch.no_grad()
def test_clips_layers_are_the_backbones_and_follow_it() -> None:
    head, backbone, text = small_head("fcclip")
    maps = small_maps(backbone)
    before = head(maps, text).class_logits
    backbone.clip.attention_pool.c_proj.weight.mul_(-1)
    assert not torch.allclose(head(maps, text).class_logits, before)


@torch.no_grad()
def test_in_training_clip_has_no_say() -> None:
    head, backbone, text = small_head("fcclip")
    maps = small_maps(backbone)
    trained = head.train()(maps, text).class_logits
    joint = head.eval()(maps, text).class_logits
    assert not torch.allclose(trained.softmax(-1), joint.softmax(-1), atol=1e-3)
    torch.testing.assert_close(trained.softmax(-1)[..., -1], joint.softmax(-1)[..., -1])
