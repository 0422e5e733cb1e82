"""create_segmenter: a backbone, a head on it, and what turns images into classes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.heads import create_head, find_head
from sparse_ovs.segmenter import files
from sparse_ovs.segmenter.options import Options
from sparse_ovs.segmenter.precision import check_precision, scales_from
from sparse_ovs.segmenter.segmenter import Segmenter

_DEFAULT_HEAD = "maskclip"
_DEFAULT_BACKBONE = "RN50"


def create_segmenter(
    head: str | None = None,
    backbone: str | Backbone | None = None,
    pretrained: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    density: float | str | None = None,
    *,
    pattern: str = "unstructured",
    mask: Any = None,
    fast: bool = False,
    precision: str = "fp32",
    calibrate: Any = None,
    head_sizes: str | Mapping[str, Any] | None = None,
    output_stride: int | None = None,
    **options: Any,
) -> Segmenter:
    """A segmenter without a vocabulary yet, in eval mode.

    Args:
        head: a name in `sparse_ovs.heads.HEADS`; None for the checkpoint's, or "maskclip".
        backbone: an open_clip model ("RN50" where None), or a backbone that gives what the head
            needs.
        pretrained, density, pattern, mask: of a backbone by name, see `create_backbone`.
        checkpoint: a file or folder of `Segmenter.save_pretrained`, or the package's own
            "emoji-maskformer"; it brings backbone, density, head and its sizes, and options, and
            must be of `head` where one is named.
        fast: compile the encoder (see Segmenter).
        precision: of the compiled encoder: "fp32" or "int8", see `sparse_ovs.compile`.
        calibrate: with int8, what to take its scales from (see `Segmenter.calibrate`): a folder of
            images, images, or a quantization; None: the checkpoint's own.
        head_sizes: of a head that is not a checkpoint's, see `create_head`.
        output_stride: of a ResNet by name, 8, 16 or 32, which is dilated to it; None: what the head
            wants.
        options: of Options; by default the checkpoint's.

    Raises:
        ValueError, TypeError, FileNotFoundError: an argument out of its range, or arguments that
            exclude each other.
        FileFormatError: a damaged, foreign or newer checkpoint, or one of another head.
        PretrainedUnavailable: weights that cannot be downloaded.

    Warns:
        RandomWeightsWarning: names the parts without trained weights.
    """
    kind = find_head(head or _DEFAULT_HEAD)
    unknown = sorted(set(options) - {field.name for field in fields(Options)})
    if unknown:
        raise TypeError(
            f"expected options of {', '.join(f.name for f in fields(Options))}, got {unknown[0]!r}"
        )
    check_precision(fast, precision, calibrate)
    if checkpoint is not None:
        given = {
            "pretrained": pretrained,
            "density": density,
            "mask": mask,
            "head_sizes": head_sizes,
            "output_stride": output_stride,
        }
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"expected a checkpoint or {name}, got both")
        if isinstance(backbone, Backbone):
            raise ValueError("expected a checkpoint or a backbone, got both")
        parts = files.load(files.find(checkpoint), head, backbone, options)
        images = scales_from(precision, calibrate, parts.quantization)
        segmenter = Segmenter(parts.backbone, parts.head, parts.options, fast)
        return segmenter if images is None else segmenter.calibrate(images)
    images, settings = scales_from(precision, calibrate), Options(**options)
    if isinstance(backbone, Backbone):
        if any(value is not None for value in (pretrained, density, mask, output_stride)):
            raise ValueError(
                "expected pretrained, density, mask and output_stride for a backbone by name "
                "alone, got a Backbone"
            )
        made = backbone
    else:
        made = create_backbone(
            backbone or _DEFAULT_BACKBONE,
            pretrained,
            density,
            pattern,
            mask,
            output_stride=output_stride or kind.output_stride,
        )
        made.select(kind.needed_indices(made))
    segmenter = Segmenter(made, create_head(kind.name, made, head_sizes), settings, fast)
    return segmenter if images is None else segmenter.calibrate(images)
