"""Class logits by text: scales, synonyms, and "no object"."""

from __future__ import annotations

import math

import pytest
import torch

from sparse_ovs.heads.classifier import TextClassifier, joint_width
from sparse_ovs.text import TextEmbeddings, Vocabulary
from support.small_clips import CONVNEXT, RN, small_backbone

AXES = torch.eye(4)
# "cat" lies on the first axis, "kitten" on the second, "dog" on the third.
TEXT = TextEmbeddings(AXES[:3], Vocabulary.parse("cat, kitten; dog"))


def logits(clamp: bool = False, scale: float = 2.0) -> torch.Tensor:
    classifier = TextClassifier(4, clamp)
    with torch.no_grad():
        classifier.logit_scale.fill_(math.log(scale))
        classifier.void.copy_(7 * AXES[3])
        return classifier(AXES[None], TEXT)[0]


def test_a_class_counts_as_its_best_synonym_and_no_object_comes_last() -> None:
    expected = 2 * torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    torch.testing.assert_close(logits(), expected)


def test_a_scale_is_held_at_100_where_it_is_clamped() -> None:
    assert logits(clamp=True, scale=300).max() == 100
    assert logits(clamp=False, scale=300).max() > 299


def test_the_scale_starts_where_clips_did() -> None:
    assert TextClassifier(4).scale().item() == pytest.approx(1 / 0.07)


@pytest.mark.parametrize("name", [RN, CONVNEXT])
def test_the_joint_space_is_that_of_the_text_tower(name: str) -> None:
    assert joint_width(small_backbone(name).clip) == 24
