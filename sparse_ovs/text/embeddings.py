"""Text embeddings of a vocabulary, and the scores of pixels or regions against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones import ClipParts
from sparse_ovs.text.cache import EmbeddingCache
from sparse_ovs.text.templates import find_templates
from sparse_ovs.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class TextEmbeddings:
    """What heads get of a vocabulary.

    Attributes:
        rows: (S, D) float32 of unit length, one for each synonym, class after class.
        vocabulary: the classes; class k owns the next len(vocabulary.classes[k]) rows.
    """

    rows: Tensor
    vocabulary: Vocabulary

    def __post_init__(self) -> None:
        count = sum(len(synonyms) for synonyms in self.vocabulary.classes)
        if self.rows.dim() != 2 or len(self.rows) != count:
            raise ValueError(
                f"expected {count} rows, one for each synonym, got shape {tuple(self.rows.shape)}"
            )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> TextEmbeddings:
        """The same on another device, or of another dtype."""
        return TextEmbeddings(self.rows.to(device, dtype), self.vocabulary)

    def similarity(self, x: Tensor) -> Tensor:
        """Dot products of vectors with the classes, the largest among a class's synonyms. What
        several classes share scores alike in all of them, to the bit.

        Args:
            x: (N, D, ...), unit vectors along dim 1 for cosines.

        Returns:
            (N, K, ...).
        """
        if x.shape[1] != self.rows.shape[1]:
            raise ValueError(f"expected vectors of {self.rows.shape[1]} values, got {x.shape[1]}")
        by_row = torch.einsum("nd...,sd->ns...", x, self._once(self.rows))
        if self._repeats is not None:
            by_row = by_row.index_select(1, self._repeats[1])
        sizes = [len(synonyms) for synonyms in self.vocabulary.classes]
        if max(sizes) == 1:
            return by_row
        starts = [sum(sizes[:k]) for k in range(len(sizes))]
        best = by_row[:, starts]
        for turn in range(1, max(sizes)):  # the second synonyms of all that have one, the third, ..
            owners = [k for k, size in enumerate(sizes) if size > turn]
            index = torch.tensor(owners, device=x.device)
            more = torch.maximum(best[:, owners], by_row[:, [starts[k] + turn for k in owners]])
            best = best.index_copy(1, index, more)
        return best

    def projected(self, matrix: Tensor) -> TextEmbeddings:
        """The rows times a matrix (D, d), in its dtype; what was alike stays alike, to the bit."""
        rows = self._once(self.rows.to(matrix.dtype)) @ matrix
        if self._repeats is not None:
            rows = rows[self._repeats[1]]
        return TextEmbeddings(rows, self.vocabulary)

    def _once(self, rows: Tensor) -> Tensor:
        """The rows without those that repeat an earlier one."""
        return rows if self._repeats is None else rows[self._repeats[0]]

    @cached_property
    def _repeats(self) -> tuple[Tensor, Tensor] | None:
        """(distinct rows, place among them of each of the S rows), both int64, where a row repeats
        an earlier one's name and values; None where none does.

        Matrix products round the same row differently in different columns, and of equal scores
        another than the first would win.
        """
        words = [word for synonyms in self.vocabulary.classes for word in synonyms]
        if len(set(words)) == len(words):
            return None
        firsts: dict[str, int] = {}
        kept: list[int] = []
        places: list[int] = []
        for index, word in enumerate(words):
            first = firsts.setdefault(word, index)
            if first < index and torch.equal(self.rows[first], self.rows[index]):
                places.append(places[first])
            else:
                places.append(len(kept))
                kept.append(index)
        device = self.rows.device
        return torch.tensor(kept, device=device), torch.tensor(places, device=device)


def embed_vocabulary(
    clip: ClipParts,
    vocabulary: Vocabulary,
    templates: str | Sequence[str] = "vild",
    batch: int = 128,
    cache: bool = True,
) -> TextEmbeddings:
    """Embeds every synonym through CLIP's text tower: each of its prompts normalised, their mean
    normalised again.

    Args:
        clip: of a backbone.
        templates: see `find_templates`.
        batch: prompts that the text tower reads at once.
        cache: read and keep embeddings under SPARSE_OVS_CACHE, by the model's name, a hash of the
            text tower's weights, the templates and the string: a string is embedded once.

    Raises:
        ValueError: templates or a batch that are no such thing.
    """
    if batch < 1:
        raise ValueError(f"expected a batch of at least 1, got {batch}")
    sentences = find_templates(templates)
    words = list(dict.fromkeys(w for synonyms in vocabulary.classes for w in synonyms))
    kept = EmbeddingCache(clip, sentences) if cache else None
    known = kept.read(words) if kept is not None else {}
    missing = [word for word in words if word not in known]
    if missing:
        made = dict(zip(missing, _embed(clip, missing, sentences, batch), strict=True))
        known |= made
        if kept is not None:
            kept.add(made)
    rows = torch.stack([known[w] for synonyms in vocabulary.classes for w in synonyms])
    return TextEmbeddings(rows.to(clip.logit_scale.device), vocabulary)


def _embed(clip: ClipParts, words: list[str], sentences: tuple[str, ...], batch: int) -> Tensor:
    """(len(words), D) float32 on the CPU."""
    prompts = [sentence.replace("{}", word) for word in words for sentence in sentences]
    tokens = clip.tokenizer(prompts)
    device = clip.logit_scale.device
    with torch.no_grad():
        parts = [clip.encode_text(part.to(device)).float().cpu() for part in tokens.split(batch)]
        each = F.normalize(torch.cat(parts), dim=1).unflatten(0, (len(words), len(sentences)))
        return F.normalize(each.mean(1), dim=1)
