"""The package's tiny CLIPs: RN50's structure in small, and the words of what they know."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.word_tokenizer import WordTokenizer
from sparse_ovs.data import EmojiScenes, Scenes
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


def test_its_weights_come_with_the_package() -> None:
    backbone = create_backbone("scenes-RN50", "scenes")
    assert backbone.clip.random_parts == ()
    assert backbone.report is None


def test_the_pruned_trunk_keeps_a_tenth_under_the_same_pool_and_text_tower(tiny: Backbone) -> None:
    dense = create_backbone("scenes-RN50", "scenes")
    pruned = create_backbone("scenes-RN50", "scenes-imp10")
    assert pruned.clip.random_parts == ()
    kept = {name: (pruned.get_submodule(name).weight != 0) for name in tiny.scope()}
    total = sum(mask.numel() for mask in kept.values())
    assert sum(int(mask.sum()) for mask in kept.values()) / total == pytest.approx(0.1, abs=1e-3)
    trunk = {f"visual.{name}" for name in pruned.state_dict()}
    others = dense.clip.model.state_dict()
    own = pruned.clip.model.state_dict()
    rest = others.keys() - trunk
    assert "visual.attnpool.c_proj.weight" in rest
    assert all(torch.equal(own[name], others[name]) for name in rest)


def test_the_clip_of_emoji_has_rn50s_modules_and_a_quarter_of_its_channels(rn50: Backbone) -> None:
    backbone = create_backbone("emoji-RN50", "emoji")
    assert backbone.clip.random_parts == ()
    assert list(backbone.state_dict()) == list(rn50.state_dict())
    assert [4 * n for n in backbone.feature_info.channels()] == rn50.feature_info.channels()


@pytest.mark.parametrize("model", ["emoji-RN50", "emoji-ViT"])
def test_the_clips_of_emoji_know_the_words_of_all_concepts(model: str) -> None:
    backbone = create_backbone(model)
    vocabulary = Vocabulary(tuple((name,) for name in EmojiScenes.classes))
    rows = embed_vocabulary(backbone.clip, vocabulary, "vild", cache=False).rows
    assert rows.shape == (108, 128)
    assert rows.unique(dim=0).shape == rows.shape


def test_an_unknown_tag_is_told_with_its_own() -> None:
    with pytest.raises(
        ValueError, match=r"a tag of scenes-RN50 \(scenes, scenes-imp10\), got 'openai2'"
    ):
        create_backbone("scenes-RN50", "openai2")
