"""The kinds of output that a segmenter has, and tables of what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from rich.table import Table

from sparse_ovs.segmenter import InstanceResult, PanopticResult, Result, Segmenter

OUTPUTS = ("semantic", "panoptic", "instance")


def check_output(output: str, things: str | None, labels: Path | None) -> None:
    """Raises ValueError for an unknown output, or an option that it does not have."""
    if output not in OUTPUTS:
        raise ValueError(f"expected an output of {', '.join(OUTPUTS)}, got {output!r}")
    if output == "semantic" and things is not None:
        raise ValueError("expected --things with --output panoptic or instance, got it without")
    if output == "instance" and labels is not None:
        raise ValueError("expected no --labels with --output instance, whose masks overlap, got it")


def predict_output(
    segmenter: Segmenter, picture: Image.Image, output: str, things: str | None
) -> Any:
    """A Result, PanopticResult or InstanceResult.

    Args:
        output: one of OUTPUTS.
        things: names with semicolons between them; None for all classes.
    """
    if output == "semantic":
        return segmenter.predict(picture, scores=False)
    names = None if things is None else [name.strip() for name in things.split(";")]
    predict = segmenter.predict_panoptic if output == "panoptic" else segmenter.predict_instances
    return predict(picture, things=names)


def output_table(result: Result | PanopticResult | InstanceResult) -> Table:
    """What was found."""
    if isinstance(result, Result):
        return segments_table(result)
    kinds = isinstance(result, PanopticResult)
    table = Table()
    for name in ("class", *(("kind",) if kinds else ())):
        table.add_column(name)
    for name in ("of the image", "score"):
        table.add_column(name, justify="right")
    pixels = result.image.width * result.image.height
    if isinstance(result, PanopticResult):
        for one in result.segments:
            kind = "thing" if one.thing else "stuff"
            table.add_row(one.label, kind, f"{one.area / pixels:.1%}", f"{one.score:.3f}")
    else:
        for thing in result.instances:
            table.add_row(thing.label, f"{thing.area / pixels:.1%}", f"{thing.score:.3f}")
    return table


def segments_table(result: Result) -> Table:
    """The classes that were found, the largest first."""
    table = Table()
    table.add_column("class")
    for name in ("of the image", "mean score"):
        table.add_column(name, justify="right")
    pixels = result.sem_seg.numel()
    for found in result.segments:
        table.add_row(found.label, f"{found.area / pixels:.1%}", f"{found.score:.3f}")
    rest = pixels - sum(found.area for found in result.segments)
    if rest:
        table.add_row("background", f"{rest / pixels:.1%}", "", style="dim")
    return table
