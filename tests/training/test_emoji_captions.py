"""Pictures of emoji with sentences: what they name, what never meets in a batch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from sparse_ovs.backbones import create_backbone
from sparse_ovs.data.emoji import CONCEPTS, GROUNDS
from sparse_ovs.training import ClipTraining, train_clip
from sparse_ovs.training.emoji_captions import EmojiCaptions
from support.made_emoji import put_keywords, put_sprites

NAMES = [concept.name for concept in CONCEPTS] + list(GROUNDS)
ALL = len(NAMES)


@pytest.fixture(autouse=True)
def emoji(monkeypatch: pytest.MonkeyPatch) -> None:
    put_sprites(monkeypatch)
    put_keywords(monkeypatch, "animal")


def named(sentence: str) -> list[str]:
    """The longest names in it."""
    found = [name for name in NAMES if re.search(rf"\b{name}\b", sentence)]
    return [n for n in found if not any(n != m and re.search(rf"\b{n}\b", m) for m in found)]


def test_a_batch_has_images_and_sentences_for_a_clip() -> None:
    pixels, sentences = EmojiCaptions(5, 32, seed=0)(0)
    assert pixels.shape == (5, 3, 32, 32)
    assert pixels.dtype == torch.float32
    assert len(sentences) == 5
    assert -2 < float(pixels.min()) < float(pixels.max()) < 3


def test_a_batch_depends_on_its_number_and_the_seed_only() -> None:
    captions = EmojiCaptions(4, 32, seed=3)
    later, again = captions(7), EmojiCaptions(4, 32, seed=3)(7)
    assert torch.equal(later[0], again[0])
    assert later[1] == again[1]
    assert not torch.equal(later[0], captions(8)[0])
    assert not torch.equal(later[0], EmojiCaptions(4, 32, seed=4)(7)[0])


def test_a_whole_batch_names_every_concept_and_every_ground() -> None:
    _, sentences = EmojiCaptions(ALL, 16, seed=0)(0)
    assert len(sentences) == ALL
    assert {name for sentence in sentences for name in named(sentence)} == set(NAMES)


def test_sentences_are_of_all_kinds() -> None:
    sentences = [s for number in range(3) for s in EmojiCaptions(ALL, 16, seed=0)(number)[1]]
    for pattern in (r"^a photo of an? .* on (sand|sky)", r", animal", r" and ", r" with an? "):
        assert any(re.search(pattern, sentence) for sentence in sentences)


def test_every_sentence_is_made_of_words_that_the_model_knows() -> None:
    tokenizer = create_backbone("emoji-RN50").clip.tokenizer
    for number in range(3):
        tokenizer(EmojiCaptions(ALL, 16, seed=1)(number)[1])


def test_more_pictures_than_things_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a batch of 1 to 208 emoji, got 209"):
        EmojiCaptions(209, 16, seed=0)


@pytest.mark.parametrize("model", ["emoji-RN50", "emoji-ViT"])
def test_a_clip_learns_from_them(tmp_path: Path, model: str) -> None:
    settings = ClipTraining(model, "emoji", batch=4, steps=2, warmup=1)
    backbone = create_backbone(model, train_clip(settings, tmp_path))
    assert backbone.clip.random_parts == ()


def test_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected data of scenes or emoji, got 'photos'"):
        train_clip(ClipTraining(data="photos"), tmp_path)
