"""mIoU in its two public variants, accuracies and their means over seen and unseen classes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sparse_ovs.evaluation.confusion import Confusion

VARIANTS = ("detectron2", "mmseg")


@dataclass(frozen=True)
class ClassScore:
    """One class, over all images.

    Attributes:
        name: of the class.
        iou: of 0 to 1; NaN where the variant does not count the class.
        accuracy: fraction of its pixels that were found; NaN where it has none.
        pixels: that are labelled so.
    """

    name: str
    iou: float
    accuracy: float
    pixels: int


@dataclass(frozen=True)
class Scores:
    """Fractions from 0 to 1; NaN where nothing is counted.

    Attributes:
        variant: "detectron2" or "mmseg": over which classes mIoU is the mean.
        miou: mean IoU of the counted classes.
        fwiou: mean IoU, weighted by the pixels of each class.
        macc: mean accuracy of the classes that have pixels.
        pacc: fraction of the labelled pixels that are right.
        counted: number of classes in miou.
        seen, unseen: mean IoU of the counted classes among the seen ones, and among the others;
            None where no classes were named as seen.
        harmonic: harmonic mean of these two.
        by_class: in the order of the classes.
    """

    variant: str
    miou: float
    fwiou: float
    macc: float
    pacc: float
    counted: int
    seen: float | None
    unseen: float | None
    harmonic: float | None
    by_class: tuple[ClassScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: NaN is None."""
        made = asdict(self)
        made["by_class"] = [_plain(entry) for entry in made["by_class"]]
        return _plain(made)


def scores(
    confusion: Confusion,
    names: Sequence[str],
    variant: str = "detectron2",
    seen: Collection[int] | None = None,
) -> Scores:
    """What the counts of a whole split amount to.

    With n[p, g] pixels predicted p and labelled g: G = sum_p n, P = sum_g n, IoU = n[c, c] / (G + P
    - n[c, c]). "detectron2" takes the mean over classes with G > 0. "mmseg" takes the mean over
    classes with G + P > 0: a class that is nowhere in the labels and is predicted somewhere counts
    0. (detectron2's older releases divided by that number too: their mIoU is "mmseg" here.)

    Args:
        names: of the K classes.
        seen: indices of the classes that were seen in training.

    Raises:
        ValueError: an unknown variant, as many names as classes are not there, or seen indices that
            are no class.
    """
    if variant not in VARIANTS:
        raise ValueError(f"expected variant {' or '.join(VARIANTS)}, got {variant!r}")
    if len(names) != confusion.classes:
        raise ValueError(f"expected {confusion.classes} names, got {len(names)}")
    if seen is not None and not set(seen) <= set(range(confusion.classes)):
        raise ValueError(f"expected seen classes below {confusion.classes}, got {max(seen)}")
    right = np.diagonal(confusion.counts).astype(np.float64)
    truth = confusion.counts.sum(0).astype(np.float64)  # G, pixels told to be no class included
    predicted = confusion.counts[:-1].sum(1).astype(np.float64)  # P
    union = truth + predicted - right
    there = truth > 0
    counts = there if variant == "detectron2" else union > 0
    iou = np.full(len(names), np.nan)
    iou[counts] = right[counts] / union[counts]
    accuracy = np.full(len(names), np.nan)
    accuracy[there] = right[there] / truth[there]
    total = truth.sum()
    means = _split(iou, seen)
    return Scores(
        variant=variant,
        miou=_mean(iou),
        fwiou=float((iou[there] * truth[there]).sum() / total) if total else math.nan,
        macc=_mean(accuracy),
        pacc=float(right.sum() / total) if total else math.nan,
        counted=int(counts.sum()),
        seen=means[0],
        unseen=means[1],
        harmonic=means[2],
        by_class=tuple(
            ClassScore(name, float(i), float(a), int(g))
            for name, i, a, g in zip(names, iou, accuracy, truth, strict=True)
        ),
    )


def seen_classes(classes: Iterable[str], trained: Iterable[str]) -> list[int]:
    """Indices of the classes that have a synonym among the names that were trained on, spelled
    alike to the letter's case, as fc-clip tells them.

    Args:
        classes, trained: names, synonyms separated by commas.
    """
    known = {word for name in trained for word in _words(name)}
    return [index for index, name in enumerate(classes) if known & _words(name)]


def _words(name: str) -> set[str]:
    return {word.strip() for word in name.split(",")} - {""}


def _split(
    iou: np.ndarray, seen: Collection[int] | None
) -> tuple[float | None, float | None, float | None]:
    if seen is None:
        return None, None, None
    inside = np.isin(np.arange(len(iou)), list(seen))
    a, b = _mean(iou[inside]), _mean(iou[~inside])
    return a, b, 2 * a * b / (a + b) if a + b > 0 else (0.0 if a + b == 0 else math.nan)


def _mean(values: np.ndarray) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else math.nan


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in entry.items()
    }
