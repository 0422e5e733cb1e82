"""From a segmenter's answers to a dataset's classes, by its rule for the background."""

from __future__ import annotations

import numpy as np

from sparse_ovs.data.dataset import SegmentationDataset
from sparse_ovs.text import Vocabulary


def vocabulary_of(dataset: SegmentationDataset) -> Vocabulary:
    """What the segmenter is asked for, synonyms apart."""
    return Vocabulary(
        tuple(
            tuple(word for word in (part.strip() for part in name.split(",")) if word)
            for name in dataset.vocabulary
        )
    )


def asks_for_others(dataset: SegmentationDataset) -> bool:
    """Whether the vocabulary has names that mean the background, in place of its own name."""
    return tuple(dataset.vocabulary) != tuple(dataset.classes)


def background_rule(dataset: SegmentationDataset) -> str:
    """In words, for the protocol.

    Raises:
        ValueError: a dataset that contradicts itself.
    """
    classes, background = tuple(dataset.classes), dataset.background
    if background is not None and background not in classes:
        raise ValueError(f"expected a background of {dataset.name}'s classes, got {background!r}")
    if asks_for_others(dataset):
        last = len(classes) - 1
        if background != classes[last] or tuple(dataset.vocabulary[:last]) != classes[:last]:
            raise ValueError(
                f"expected {dataset.name} to ask for its classes, then for names that mean its "
                f"last one, got a vocabulary of {len(dataset.vocabulary)} names"
            )
        return (
            f"asked for as {len(dataset.vocabulary) - last} other names, each of which means "
            f"{background!r}"
        )
    if background is None:
        return "no class; predictions on pixels without a label are free"
    return f"class {background!r}, asked for by that name"


def to_classes(answers: np.ndarray, dataset: SegmentationDataset) -> np.ndarray:
    """A segmenter's answers, indices in the vocabulary or -1 for none of it, as classes, -1 where
    the dataset has no class for "none of them".

    Raises:
        ValueError: answers out of the vocabulary.
    """
    low, high = int(answers.min()), int(answers.max())
    if low < -1 or high >= len(dataset.vocabulary):
        raise ValueError(
            f"expected answers from -1 to {len(dataset.vocabulary) - 1}, got {low} to {high}"
        )
    if asks_for_others(dataset):
        answers = np.minimum(answers, len(dataset.classes) - 1)
    if dataset.background is not None:
        answers = np.where(answers < 0, dataset.classes.index(dataset.background), answers)
    return answers
