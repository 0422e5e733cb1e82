"""What tasks ask of a head's queries: masks, classes without the background, what is a thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from sparse_ovs.segmenter.background import background_index
from sparse_ovs.segmenter.mask_predictor import mask_predictor
from sparse_ovs.segmenter.segmenter import Segmenter
from sparse_ovs.text import Vocabulary


def queries_of(segmenter: Segmenter, picture: Image.Image) -> tuple[Tensor, Tensor]:
    """Probabilities (Q, K + 1) and mask logits (Q, h, w) of the head, which sees the picture whole;
    the background counts as no object."""
    classes, text = segmenter.classes_and_text()
    output: Any = segmenter.head(segmenter.encode(segmenter.to_input(picture)), text)
    probabilities = mask_predictor(segmenter.head, "these").class_probabilities(output)[0]
    background = background_index(classes, segmenter.options.background)
    return (
        without_background(probabilities, len(classes), background),
        output.mask_logits[0].float(),
    )


def which_are_things(vocabulary: Vocabulary, things: Sequence[str] | None) -> list[bool]:
    """By class; all where None.

    Args:
        things: names of classes.

    Raises:
        ValueError: a name of no class.
        TypeError: a string, not several.
    """
    if things is None:
        return [True] * len(vocabulary)
    if isinstance(things, str):
        raise TypeError(f"expected a list of names of things, got {things!r}")
    found = [False] * len(vocabulary)
    for name in things:
        index = vocabulary.index(name)
        if index is None:
            raise ValueError(
                f"expected things among the classes {', '.join(vocabulary.names)}, got {name!r}"
            )
        found[index] = True
    return found


def without_background(probabilities: Tensor, classes: int, background: int | None) -> Tensor:
    """Probabilities (Q, classes + 1) of queries, with the background's added to "no object".

    Args:
        probabilities: (Q, classes + 1), or one more where the background is no class of the
            vocabulary and stands behind them.
        background: index of its column; None for none.
    """
    if background is None:
        return probabilities
    made = probabilities[:, : classes + 1].clone()
    if background < classes:
        made[:, background] = 0
    made[:, -1] = probabilities[:, background] + probabilities[:, -1]
    return made
