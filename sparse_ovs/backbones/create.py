"""create_backbone: construct, load, prune, swap."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor, nn

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
            "convnext_base", ...), or "scenes-RN50", a tiny one for procedural scenes.
        pretrained: None (random weights), a tag ("openai"; of "scenes-RN50" see `tiny_clip`), or a
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
    pruned = tiny_clip.is_pruned(name, pretrained)
    saved = packed_state.read_if_ours(tiny_clip.PRUNED_TRUNK if pruned else pretrained)
    if saved is not None:
        pretrained = tiny_clip.TAG if pruned else None
    final_name, model, random_parts = build_model(name, pretrained)
    backbone = _trunk(final_name, model, out_indices, output_stride)
    backbone.config = {"name": final_name, "out_indices": list(backbone.out_indices)}
    if output_stride is not None:
        backbone.config["output_stride"] = output_stride
    backbone.report = None
    if saved is not None:
        packed_state.fill(backbone, saved)
        if not pruned:  # a backbone's file has its own part alone
            random_parts = (IMAGE_PROJECTION, TEXT_TOWER)
    backbone.clip.random_parts = random_parts
    if density is not None or mask is not None:
        backbone.report = _prune(
            backbone, density, pattern, mask, profile, engine, fold_bn, example_input
        )
    return backbone.eval()


def _trunk(
    name: str, model: nn.Module, out_indices: Sequence[int] | None, output_stride: int | None
) -> Backbone:
    visual: Any = model.visual
    backbone: Backbone
    if isinstance(visual, open_clip.modified_resnet.ModifiedResNet):
        backbone = ResNetTrunk(visual, out_indices, output_stride or OUTPUT_STRIDES[-1])
    elif output_stride is not None:
        raise ValueError(
            f"expected a CLIP ResNet for output_stride {output_stride}, got {name!r} "
            f"({type(visual).__name__})"
        )
    elif isinstance(visual, open_clip.transformer.VisionTransformer):
        if visual.class_embedding is None:
            raise ValueError(f"expected a ViT with a class token, got {name!r}")
        backbone = ViTTrunk(visual, out_indices)
    elif (
        hasattr(visual, "trunk")
        and {"stem", "stages"} <= dict(visual.trunk.named_children()).keys()
    ):
        backbone = ConvNeXtTrunk(visual, out_indices)
    else:
        raise ValueError(
            f"expected a model of the ResNet, ViT or ConvNeXt family, got {name!r} "
            f"({type(visual).__name__})"
        )
    backbone.clip = ClipParts(name, model)
    backbone.preprocess = image_transform_v2(PreprocessCfg(**visual.preprocess_cfg), is_train=False)
    return backbone


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
