"""Makes the segmenter that a command was asked for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from sparse_ovs.segmenter import RandomWeightsWarning, Segmenter, create_segmenter


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given: those left out keep the library's own defaults."""
    return {name: value for name, value in options.items() if value is not None}


def make_segmenter(
    head: str | None,
    backbone: str | None,
    pretrained: str | None,
    checkpoint: Path | None,
    density: float | None,
    options: dict[str, Any],
) -> Segmenter:
    """`create_segmenter`, silent about random weights, which commands tell beside their results.

    Args:
        options: of `create_segmenter`; None is left out.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)
        return create_segmenter(head, backbone, pretrained, checkpoint, density, **given(options))
