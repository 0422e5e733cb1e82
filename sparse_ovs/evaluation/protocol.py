"""All that a score depends on, printed with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparse_ovs.segmenter import Segmenter
from sparse_ovs.version import __version__


@dataclass(frozen=True)
class Protocol:
    """How an evaluation was done.

    Attributes:
        dataset: its name.
        split: of it.
        images: that were scored.
        images_in_split: that there are.
        classes: K.
        names_asked: classes that the segmenter was asked for.
        variant: over which classes mIoU is the mean.
        background: the rule for it, in words.
        ignore: which pixels do not count, in words.
        scored_at: size at which predictions and labels meet.
        segmenter: what answered (see describe_segmenter).
        random_weights: parts without trained weights; None where that is not known.
        processes: that shared the images.
        library: version of sparse_ovs.
    """

    dataset: str
    split: str
    images: int
    images_in_split: int
    classes: int
    names_asked: int
    variant: str
    background: str
    ignore: str
    scored_at: str
    segmenter: Mapping[str, Any]
    random_weights: tuple[str, ...] | None
    processes: int
    library: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        made = asdict(self)
        if self.random_weights is not None:
            made["random_weights"] = list(self.random_weights)
        return made


def describe_segmenter(segmenter: Any) -> dict[str, Any]:
    """Head, backbone, densities and every option of a Segmenter; the type's name of anything else
    that answers."""
    if not isinstance(segmenter, Segmenter):
        return {"kind": type(segmenter).__name__}
    report = segmenter.backbone.report
    return {
        "head": segmenter.head.name,
        "backbone": segmenter.backbone.clip.name,
        "density": _density(report),
        "fast": segmenter.fast,
        **segmenter.options.to_dict(),
    }


def random_parts(segmenter: Any) -> tuple[str, ...] | None:
    """What of a Segmenter has no trained weights; None where that is not known."""
    if not isinstance(segmenter, Segmenter):
        return None
    return tuple(segmenter.random_parts())


def _density(report: Any) -> float | None:
    """Kept fraction of the weights in the layers that were swapped; None where none was."""
    if report is None:
        return None
    swapped = [layer for layer in report.layers if layer.pattern]
    total = sum(layer.bytes_dense for layer in swapped)
    return sum(layer.density * layer.bytes_dense for layer in swapped) / total if total else None
