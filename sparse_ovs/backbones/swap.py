"""swap_backbone: makes the image encoder inside anyone's segmentation model sparse, in place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sparse_ovs.backbones.bottlenecks import order_channels
from sparse_ovs.backbones.density_profile import load_density_profile
from sparse_ovs.backbones.hosts import Encoder, find_encoder
from sparse_ovs.backbones.layer_names import canonical_name
from sparse_ovs.backbones.masks import fit_masks, read_given
from sparse_ovs.nn import SparsifyReport, sparsify
from sparse_ovs.nn.eligible import Exclude
from sparse_ovs.nn.named_weights import weight_owners


@dataclass(frozen=True)
class SwapReport:
    """What was found in a model, and what became of it; `str` gives a table.

    Attributes:
        host: the kind of model that keeps its encoder there.
        encoder: dotted name of the encoder in the model; "" where it is the model.
        family: "ResNet", "ViT", "ConvNeXt" or "Swin".
        layers: what sparsify says of each layer, by its name in the encoder.
    """

    host: str
    encoder: str
    family: str
    layers: SparsifyReport

    def __str__(self) -> str:
        place = self.encoder or "the model itself"
        return f"{self.family} at {place} ({self.host}): {self.layers}"


def swap_backbone(
    model: nn.Module,
    density: float | None = 0.1,
    pattern: str = "unstructured",
    masks: str | os.PathLike[str] | Mapping[str, Tensor] | None = None,
    *,
    encoder: str | None = None,
    profile: str | os.PathLike[str] = "uniform",
    exclude: Exclude = (),
    engine: str = "auto",
    fold_bn: bool | str = False,
    example_input: Any = None,
) -> SwapReport:
    """Finds the image encoder inside a model and makes its layers sparse, in place.

    Knows the models of fc-clip, OpenTrans, open_clip, smp, torchvision and timm, and CLIP, CLIPSeg
    and Mask2Former of transformers, by the names of their modules. Decoders, text towers, stems
    (patch embeddings, a Swin's patch merging), attention pools, projections and heads stay as they
    are: hosts read the weights of an attention pool's `q_proj`, `k_proj`, `v_proj` and `c_proj`
    directly. Names, parameters and state_dict keys do not change.

    Args:
        model: that holds the encoder.
        density: kept fraction of the encoder's blocks; None takes the zeros that are there.
        pattern: see `sparse_ovs.make_mask`.
        masks: by layer name, or a file of them, by any framework's names, instead of magnitude
            masks; a file's orders of channels are applied too.
        encoder: dotted name of the encoder, where it is not found or there are several.
        profile: densities by layer (see load_density_profile).
        exclude, engine, fold_bn: see `sparse_ovs.sparsify`.
        example_input: images (N, 3, H, W) for the encoder: each layer is timed on what reaches it.

    Returns:
        Where the encoder stands, and a report of its layers.

    Raises:
        ValueError: no encoder or several, masks that do not fit or are for weights that hosts read,
            or an argument out of its range.
    """
    found = find_encoder(model, encoder)
    rules = [exclude] if isinstance(exclude, (str, type)) else list(exclude)
    outside = _read_directly(found)
    options: dict[str, Any] = {
        "exclude": [*rules, *outside],
        "engine": engine,
        "fold_bn": fold_bn,
        "example_input": example_input,
    }
    if masks is not None:
        given = read_given(masks)
        fitted = fit_masks(found.module, given.masks)
        _check_called(found, fitted)
        order_channels(found.module, given.orders)
        layers = sparsify(found.module, pattern, None, masks=fitted, **options)
        layers.notes += given.notes
    elif density is None:
        layers = sparsify(found.module, pattern, None, **options)
    else:
        by_name = {canonical_name(name): name for name in found.scope}
        densities = load_density_profile(profile, density, list(by_name))
        wanted = {by_name[name]: value for name, value in densities.items()}
        layers = sparsify(found.module, pattern, wanted, **options)
    for layer in layers.layers:
        if layer.name in outside:
            layer.reason = "outside of the encoder's blocks, where hosts may read its weight"
    return SwapReport(found.host, found.path, found.family, layers)


def _read_directly(found: Encoder) -> list[str]:
    """Linears and attentions outside the blocks: attention pools and heads."""
    return [
        name.removesuffix(".in_proj") if isinstance(owner, nn.MultiheadAttention) else name
        for name, (owner, _) in weight_owners(found.module).items()
        if isinstance(owner, (nn.Linear, nn.MultiheadAttention)) and name not in found.scope
    ]


def _check_called(found: Encoder, masks: Mapping[str, Tensor]) -> None:
    outside = _read_directly(found)
    read = [name for name in masks if name in outside or name.removesuffix(".in_proj") in outside]
    if read:
        raise ValueError(
            "expected masks of the encoder's convolutions and blocks, got one for "
            f"{', '.join(read)}, whose weights hosts read directly"
        )
