"""scenes-RN50: RN50's structure in small, and the words of the scenes."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.word_tokenizer import WordTokenizer
from sparse_ovs.data import Scenes
from sparse_ovs.heads import create_head
from sparse_ovs.text import TEMPLATES, Vocabulary, embed_vocabulary


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return create_backbone("scenes-RN50")


def test_pruning_covers_the_layers_that_it_covers_of_rn50(tiny: Backbone, rn50: Backbone) -> None:
    assert tiny.scope() == rn50.scope()


def test_its_modules_are_those_of_rn50(tiny: Backbone, rn50: Backbone) -> None:
    assert list(tiny.state_dict()) == list(rn50.state_dict())


def test_maps_have_an_eighth_of_the_channels_of_rn50(tiny: Backbone, rn50: Backbone) -> None:
    assert [8 * n for n in tiny.feature_info.channels()] == rn50.feature_info.channels()
    assert tiny.feature_info.reduction() == rn50.feature_info.reduction()


def test_the_text_tower_has_an_id_for_every_word(tiny: Backbone) -> None:
    tokenizer = tiny.clip.tokenizer
    assert isinstance(tokenizer, WordTokenizer)
    table = tiny.clip.model.token_embedding.weight
    assert len(table) == tokenizer.vocab_size


@pytest.mark.parametrize("templates", ["bare", "vild"])
def test_all_classes_of_the_scenes_are_embedded(tiny: Backbone, templates: str) -> None:
    vocabulary = Vocabulary(tuple((name,) for name in Scenes.classes))
    rows = embed_vocabulary(tiny.clip, vocabulary, templates, cache=False).rows
    assert rows.shape == (148, 64)
    assert rows.unique(dim=0).shape == rows.shape


def test_every_caption_fits_the_context(tiny: Backbone) -> None:
    scenes = Scenes("train", 32, 300)
    longest = [scenes.caption(i) for i in range(300)]
    assert tiny.clip.tokenizer(longest).shape == (300, 24)


def test_templates_with_words_that_it_does_not_know_are_refused(tiny: Backbone) -> None:
    assert any("origami" in sentence for sentence in TEMPLATES["imagenet"])
    with pytest.raises(ValueError, match="expected words of a, an, the"):
        embed_vocabulary(tiny.clip, Vocabulary.parse("red plain circle"), "imagenet", cache=False)


def test_maskclip_answers_by_words(tiny: Backbone) -> None:
    head = create_head("maskclip", tiny)
    text = embed_vocabulary(tiny.clip, Vocabulary.parse("sand; red plain star"), "bare")
    with torch.no_grad():
        logits = head(tiny(torch.randn(1, 3, 128, 128)), text)
    assert logits.shape == (1, 2, 4, 4)


def test_an_unknown_tag_is_told_with_its_own() -> None:
    with pytest.raises(ValueError, match=r"a tag of scenes-RN50 \(scenes\), got 'openai2'"):
        create_backbone("scenes-RN50", "openai2")
