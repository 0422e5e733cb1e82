"""create_backbone: construct, load, prune, swap."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sparse_ovs.backbones import tiny_clip
from sparse_ovs.backbones.bottlenecks import order_channels
from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.backbones.convnext import ConvNeXtTrunk
from sparse_ovs.backbones.density_profile import load_density_profile
from sparse_ovs.backbones.dilation import OUTPUT_STRIDES
from sparse_ovs.backbones.masks import fit_masks, read_given
from sparse_ovs.backbones.resnet import ResNetTrunk
from sparse_ovs.backbones.trunk import Backbone
from sparse_ovs.backbones.vit import ViTTrunk
from sparse_ovs.backbones.weights import IMAGE_PROJECTION, TEXT_TOWER, build_model
from sparse_ovs.nn import SparsifyReport, packed_state, sparsify
from sparse_ovs.patterns import check_density, parse_pattern


def create_backbone(
    name: str,
    pretrained: str | os.PathLike[str] | None = None,
    density: float | str | None = None,
    pattern: str = "unstructured",
    mask: str | os.PathLike[str] | Mapping[str, Tensor] | None = None,
    out_indices: Sequence[int] | None = None,
    *,
    output_stride: int | None = None,
    profile: str | os.PathLike[str] = "uniform",
    engine: str = "auto",
    fold_bn: bool | str = False,
    example_input: Any = None,
) -> Backbone:
    """A CLIP image encoder as a backbone, in eval mode.

    Args:
        name: an open_clip model of the ResNet, ViT or ConvNeXt family ("RN50", "ViT-B-16",
            "convnext_base", ...), or a tiny one, "emoji-RN50" or "scenes-RN50".
        pretrained: None (random weights), a tag ("openai"; of tiny ones see `tiny_clip`), or a
            path: an open_clip state_dict, OpenAI's JIT archive, or a file written by
            `sparse_ovs.save`.
        density: kept fraction of the default scope's weights (see default_scope); None leaves the
            encoder dense, or takes the mask; "weights" takes the zeros that are already there.
        pattern: see `sparse_ovs.make_mask`.
        mask: masks by layer name, or a file of them (see load_masks), by any framework's names;
            instead of magnitude masks. A file's orders of channels are applied too.
        out_indices: which features to return; by default strides 4 to 32, or four blocks of a ViT.
        output_stride: of a ResNet's last map: 32 (None), 16 or 8; stages beyond it are dilated
            instead (see `sparse_ovs.backbones.dilation`), in `clip` too, which shares them.
        profile: densities by layer (see load_density_profile).
        engine, fold_bn, example_input: see `sparse_ovs.sparsify`.

    Returns:
        A Backbone; its `.report` tells what was swapped (None where nothing was).

    Raises:
        ValueError, TypeError, FileNotFoundError: an argument out of its range.
        PretrainedUnavailable: weights that cannot be downloaded.
    """
    # Bad values are told before a model is built or downloaded.
    parse_pattern(pattern)
    if density is not None and density != "weights":
        check_density(density)  # type: ignore[arg-type]
    if output_stride not in (None, *OUTPUT_STRIDES):
        raise ValueError(f"expected an output_stride of 8, 16 or 32, got {output_stride}")
    own = tiny_clip.tiny_weights(name, pretrained)
    saved = packed_state.read_if_ours(own.trunk if own else pretrained)
    if own is None and saved is not None:
        pretrained = None
    final_name, model, random_parts = build_model(name, pretrained)
    if own is None and saved is not None:  # a backbone's file has its own part alone
        random_parts = (IMAGE_PROJECTION, TEXT_TOWER)
    backbone = _trunk(ClipParts(final_name, model, random_parts), out_indices, output_stride)
    if saved is not None:
        packed_state.fill(backbone, saved)
    if density is not None or mask is not None:
        backbone.report = _prune(
            backbone, density, pattern, mask, profile, engine, fold_bn, example_input
        )
    return backbone.eval()


def _trunk(
    clip: ClipParts, out_indices: Sequence[int] | None, output_stride: int | None
) -> Backbone:
    import open_clip

    visual: Any = clip.visual
    if isinstance(visual, open_clip.modified_resnet.ModifiedResNet):
        return ResNetTrunk(visual, out_indices, output_stride, clip=clip)
    kind = type(visual).__name__
    if output_stride is not None:
        raise ValueError(
            f"expected a CLIP ResNet for output_stride {output_stride}, got {clip.name!r} ({kind})"
        )
    if isinstance(visual, open_clip.transformer.VisionTransformer):
        if visual.class_embedding is None:
            raise ValueError(f"expected a ViT with a class token, got {clip.name!r}")
        return ViTTrunk(visual, out_indices, clip=clip)
    if hasattr(visual, "trunk") and {"stem", "stages"} <= {
        name for name, _ in visual.trunk.named_children()
    }:
        return ConvNeXtTrunk(visual, out_indices, clip=clip)
    raise ValueError(
        f"expected a model of the ResNet, ViT or ConvNeXt family, got {clip.name!r} ({kind})"
    )


def _prune(
    backbone: Backbone,
    density: float | str | None,
    pattern: str,
    mask: str | os.PathLike[str] | Mapping[str, Tensor] | None,
    profile: str | os.PathLike[str],
    engine: str,
    fold_bn: bool | str,
    example_input: Any,
) -> SparsifyReport:
    options: dict[str, Any] = {
        "engine": engine,
        "fold_bn": fold_bn,
        "example_input": example_input,
    }
    if mask is not None:
        given = read_given(mask)
        fitted = fit_masks(backbone, given.masks)
        order_channels(backbone, given.orders)
        report = sparsify(backbone, pattern, None, masks=fitted, **options)
        report.notes += given.notes
        return report
    if density == "weights":
        return sparsify(backbone, pattern, None, **options)
    assert isinstance(density, (int, float))
    densities = load_density_profile(profile, density, backbone.scope())
    return sparsify(backbone, pattern, densities, **options)
