"""Zero-shot naming of emoji: what counts as found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.data.emoji import CONCEPTS
from sparse_ovs.evaluation import emoji_zero_shot
from sparse_ovs.text import Vocabulary, embed_vocabulary
from support.made_emoji import put_sprites


@pytest.fixture(autouse=True)
def sprites(monkeypatch: pytest.MonkeyPatch) -> None:
    put_sprites(monkeypatch)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return create_backbone("emoji-RN50")


def test_a_model_that_always_answers_one_name_is_right_once_in_200(backbone: Backbone) -> None:
    vocabulary = Vocabulary(tuple((concept.name,) for concept in CONCEPTS))
    rows = embed_vocabulary(backbone.clip, vocabulary, "bare", cache=False).rows

    def always(images: Tensor) -> Tensor:
        return rows[7].expand(len(images), -1)

    found = emoji_zero_shot(backbone, pictures=1, encode=always)
    assert found.top1 == 1 / 200
    assert found.top5 == 5 / 200
    assert found.pictures == 200


def test_pictures_are_the_same_each_time_and_others_by_split(backbone: Backbone) -> None:
    seen: list[Tensor] = []

    def look(images: Tensor) -> Tensor:
        seen.append(images)
        return torch.ones(len(images), 128)

    for split in ("val", "val", "tune"):
        emoji_zero_shot(backbone, split, pictures=1, encode=look)
    first, again, other = (torch.cat(part) for part in (seen[:4], seen[4:8], seen[8:]))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_count_below_one_is_refused(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="expected pictures >= 1, got 0"):
        emoji_zero_shot(backbone, pictures=0)
