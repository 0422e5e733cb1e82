"""A tokenizer whose tokens are the words of a short list, for text towers of few words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

_WORD = re.compile(r"\w+")


class WordTokenizer:
    """Sentences -> ids: 0 fills up, 1 to W are the words, W + 1 begins and W + 2, the largest, ends
    a sentence, where open_clip's text towers read it. Case and punctuation do not count.

    Args:
        words: W of them, lower case.
        context_length: ids of a sentence, beginning and end included.
    """

    def __init__(self, words: Sequence[str], context_length: int) -> None:
        self.words = tuple(words)
        self.context_length = context_length
        self._ids = {word: number for number, word in enumerate(self.words, 1)}

    @property
    def vocab_size(self) -> int:
        """Ids that there are."""
        return len(self.words) + 3

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """(N, context_length) int64.

        Raises:
            ValueError: words that are not in the list, or a sentence too long for the context.
        """
        length = self.context_length
        sentences = [texts] if isinstance(texts, str) else texts
        tokens = torch.zeros(len(sentences), length, dtype=torch.int64)
        for row, sentence in zip(tokens, sentences, strict=True):
            ids = [len(self.words) + 1, *self._numbers(sentence), len(self.words) + 2]
            if len(ids) > length:
                raise ValueError(
                    f"expected at most {length - 2} words, got {len(ids) - 2}: {sentence!r}"
                )
            row[: len(ids)] = torch.tensor(ids)
        return tokens

    def _numbers(self, sentence: str) -> list[int]:
        words = _WORD.findall(sentence.lower())
        unknown = [word for word in words if word not in self._ids]
        if unknown:
            raise ValueError(
                f"expected words of {', '.join(self.words)}, got {unknown[0]!r} in {sentence!r}"
            )
        return [self._ids[word] for word in words]
