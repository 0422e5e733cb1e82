"""The tokenizer of words."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs.backbones.word_tokenizer import WordTokenizer

WORDS = ("red", "circle", "on", "sand")


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer(WORDS, context_length=6)


def test_a_sentence_lies_between_its_beginning_and_its_end(tokenizer: WordTokenizer) -> None:
    assert tokenizer(["red circle on sand", "sand"]).tolist() == [
        [5, 1, 2, 3, 4, 6],
        [5, 4, 6, 0, 0, 0],
    ]


def test_the_end_has_the_largest_id_where_open_clip_reads(tokenizer: WordTokenizer) -> None:
    tokens = tokenizer("red circle")
    assert tokens.argmax(1).tolist() == [3]
    assert int(tokens.max()) == tokenizer.vocab_size - 1


def test_case_and_punctuation_do_not_count(tokenizer: WordTokenizer) -> None:
    assert torch.equal(tokenizer("Red circle, on sand."), tokenizer("red circle on sand"))


def test_one_string_is_one_sentence(tokenizer: WordTokenizer) -> None:
    assert torch.equal(tokenizer("red"), tokenizer(["red"]))


def test_an_unknown_word_is_told_with_the_known_ones(tokenizer: WordTokenizer) -> None:
    with pytest.raises(ValueError, match="expected words of red, circle, on, sand, got 'zebra'"):
        tokenizer(["red circle", "red zebra"])


def test_a_sentence_that_is_too_long_is_refused(tokenizer: WordTokenizer) -> None:
    with pytest.raises(ValueError, match="expected at most 4 words, got 5"):
        tokenizer("red red red red red")
