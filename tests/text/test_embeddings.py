"""Text embeddings: what CLIP's text tower gives, averaged, cached, and compared with pixels."""

from __future__ import annotations

import copy
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones import ClipParts
from sparse_ovs.text import TEMPLATES, TextEmbeddings, Vocabulary, embed_vocabulary
from support.small_clips import small_backbone

WORDS = Vocabulary.parse("cat, kitten, pussy cat; dog; bird, fowl")


@pytest.fixture(scope="module")
def clip() -> ClipParts:
    return small_backbone().clip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "text"


@pytest.fixture
def read(clip: ClipParts, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts each call of the text tower read."""
    sizes: list[int] = []
    encode = clip.encode_text

    def counted(tokens: Tensor, normalize: bool = False) -> Tensor:
        sizes.append(len(tokens))
        return encode(tokens, normalize)

    monkeypatch.setattr(clip, "encode_text", counted)
    return sizes


@pytest.mark.parametrize("templates", list(TEMPLATES))
def test_embeddings_are_open_clips_zero_shot_classifier(clip: ClipParts, templates: str) -> None:
    words = [word for synonyms in WORDS.classes for word in synonyms]
    sentences = [lambda word, t=t: t.replace("{}", word) for t in TEMPLATES[templates]]
    theirs = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, words, sentences)
    ours = embed_vocabulary(clip, WORDS, templates)
    torch.testing.assert_close(ours.rows, theirs.T, rtol=1e-5, atol=1e-6)
    assert ours.vocabulary is WORDS


def test_prompts_are_read_in_batches(clip: ClipParts, read: list[int]) -> None:
    whole = embed_vocabulary(clip, WORDS, "vild", batch=1000, cache=False)
    assert read == [84]
    parts = embed_vocabulary(clip, WORDS, "vild", batch=40, cache=False)
    assert read[1:] == [40, 40, 4]
    torch.testing.assert_close(whole.rows, parts.rows, rtol=1e-5, atol=1e-6)


def test_the_second_run_of_a_vocabulary_does_no_text_work(clip: ClipParts, read: list[int]) -> None:
    first = embed_vocabulary(clip, WORDS)
    assert read == [84]
    second = embed_vocabulary(clip, WORDS)
    assert read == [84]
    assert torch.equal(first.rows, second.rows)


def test_only_new_strings_are_embedded(clip: ClipParts, read: list[int]) -> None:
    embed_vocabulary(clip, WORDS, "bare")
    embed_vocabulary(clip, Vocabulary.parse("dog; fish; cat"), "bare")
    assert read == [6, 1]


def test_other_templates_and_other_weights_are_embedded_anew(
    clip: ClipParts, read: list[int]
) -> None:
    words = Vocabulary.parse("cat")
    first = embed_vocabulary(clip, words, "bare")
    embed_vocabulary(clip, words, ["a {}"])
    assert len(read) == 2
    changed = copy.deepcopy(clip.model)
    with torch.no_grad():
        changed.token_embedding.weight.mul_(1.5)
    other = embed_vocabulary(ClipParts(clip.name, changed), words, "bare")
    assert not torch.allclose(first.rows, other.rows)


def test_a_damaged_cache_is_made_again(clip: ClipParts, cache: Path, read: list[int]) -> None:
    first = embed_vocabulary(clip, WORDS, "bare")
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert torch.equal(embed_vocabulary(clip, WORDS, "bare").rows, first.rows)
    assert read == [6, 6]
    embed_vocabulary(clip, WORDS, "bare")
    assert read == [6, 6]


def test_a_cache_that_cannot_be_written_is_told(clip: ClipParts, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("in the way")
    with pytest.warns(RuntimeWarning, match="expected .*text to be writable, got"):
        embed_vocabulary(clip, WORDS, "bare")


def test_without_the_cache_nothing_is_written(clip: ClipParts, cache: Path) -> None:
    embed_vocabulary(clip, WORDS, "bare", cache=False)
    assert not cache.exists()


def test_a_class_scores_as_its_best_synonym() -> None:
    rows = torch.nn.functional.normalize(torch.randn(6, 5), dim=1)
    x = torch.randn(2, 5, 3, 4)
    made = TextEmbeddings(rows, WORDS).similarity(x)
    by_row = torch.einsum("ndhw,sd->nshw", x, rows)
    expected = torch.stack([by_row[:, :3].amax(1), by_row[:, 3], by_row[:, 4:].amax(1)], 1)
    torch.testing.assert_close(made, expected)


def test_similarities_have_gradients_of_the_best_synonym_alone() -> None:
    rows = torch.eye(6).requires_grad_()
    x = torch.tensor([[0.0, 3.0, 1.0, 0.0, 2.0, 5.0]])
    TextEmbeddings(rows, WORDS).similarity(x).sum().backward()
    assert rows.grad is not None
    assert (rows.grad.abs().sum(1) > 0).tolist() == [False, True, False, True, False, True]


def test_rows_and_vectors_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 6 rows, .* got shape \(5, 4\)"):
        TextEmbeddings(torch.zeros(5, 4), WORDS)
    with pytest.raises(ValueError, match="expected vectors of 4 values, got 3"):
        TextEmbeddings(torch.zeros(6, 4), WORDS).similarity(torch.zeros(1, 3, 2, 2))


def test_a_batch_below_one_is_refused(clip: ClipParts) -> None:
    with pytest.raises(ValueError, match="expected a batch of at least 1, got 0"):
        embed_vocabulary(clip, WORDS, batch=0)


@pytest.mark.parametrize("classes", [3, 5, 17, 40])
@pytest.mark.parametrize("pixels", [1, 7, 1000])
def test_a_name_scores_alike_in_every_class_and_the_first_wins(classes: int, pixels: int) -> None:
    random = torch.Generator().manual_seed(classes + pixels)
    rows = F.normalize(torch.randn(classes, 1024, generator=random), dim=1)
    names = [f"class {number}" for number in range(classes)]
    # Before, between and behind others, and beside a synonym of its own.
    words = Vocabulary.parse(["cat", *names, "cat, kitten", "cat"])
    spread = torch.cat((rows[:1], rows, rows[:2], rows[:1]))
    x = F.normalize(torch.randn(2, 1024, pixels, generator=random), dim=1)
    text = TextEmbeddings(spread, words)
    turned = torch.linalg.qr(torch.randn(1024, 1024, generator=random)).Q
    for found in (text.similarity(x), text.projected(turned).similarity(turned.T @ x)):
        assert torch.equal(found[:, -1], found[:, 0])
        assert bool((found[:, -2] >= found[:, 0]).all())
        assert not bool((found.argmax(1) == classes + 2).any())
        torch.testing.assert_close(
            found[:, 1:-2], torch.einsum("ndp,kd->nkp", x, rows), rtol=1e-4, atol=1e-5
        )
        # Kitten's row is another name's: the same values, whose product may round otherwise.
        cat_or_kitten = torch.maximum(found[:, 0], found[:, 2])
        torch.testing.assert_close(found[:, -2], cat_or_kitten, rtol=1e-4, atol=1e-5)


def test_a_name_whose_rows_differ_keeps_them() -> None:
    rows = torch.eye(3)
    found = TextEmbeddings(rows, Vocabulary.parse(["crane", "bird", "crane"])).similarity(rows)
    assert torch.equal(found, rows)
