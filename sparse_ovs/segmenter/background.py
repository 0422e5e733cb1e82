"""The background among the classes: names that compete with them, or a probability below which no
class fits."""

from __future__ import annotations

from torch import Tensor

from sparse_ovs.segmenter.decide import Decision
from sparse_ovs.segmenter.result import NOTHING
from sparse_ovs.text import Vocabulary

Background = str | float | None
"""See Options."""


def with_background(vocabulary: Vocabulary, background: Background, relative: bool) -> Vocabulary:
    """The classes, and behind them the background's names where they are no class of their own.

    Args:
        relative: whether a class's probability is its share among the classes.

    Raises:
        ValueError: a background that the classes do not fit.
    """
    if isinstance(background, (int, float)) and relative and len(vocabulary) == 1:
        raise ValueError(
            "expected at least 2 classes where the background is a probability (a class alone "
            "always has 1), got 1; name what else there is, such as background='wall, floor'"
        )
    if not isinstance(background, str) or vocabulary.index(background) is not None:
        return vocabulary
    (extra,) = Vocabulary.parse([background]).classes
    for name, synonyms in zip(vocabulary.names, vocabulary.classes, strict=True):
        if {w.casefold() for w in extra} <= {w.casefold() for w in synonyms}:
            raise ValueError(
                f"expected a background that no class has as a synonym, got {background!r}"
                f" and the class {name!r}"
            )
    return Vocabulary((*vocabulary.classes, extra))


def background_index(vocabulary: Vocabulary, background: Background) -> int | None:
    """Of the class, or of what follows the classes; None where it is no name."""
    if not isinstance(background, str):
        return None
    index = vocabulary.index(background)
    return len(vocabulary) if index is None else index


def mark_background(decision: Decision, vocabulary: Vocabulary, background: Background) -> Tensor:
    """The decision's labels, NOTHING where the background wins."""
    index, labels = background_index(vocabulary, background), decision.labels
    if index is not None:
        return labels.masked_fill(labels == index, NOTHING)
    if not isinstance(background, (int, float)):
        return labels
    assert decision.confidence is not None
    return labels.masked_fill(decision.confidence < background, NOTHING)
