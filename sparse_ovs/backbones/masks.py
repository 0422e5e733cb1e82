"""Masks from mappings and files, and where they belong in a model of any framework."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.backbones.layer_names import canonical_name, framework_name
from sparse_ovs.formats import FileFormatError, as_mask, read_masks
from sparse_ovs.nn.named_weights import weight_owners

_SUFFIXES = (".weight_mask", "_weight_mask", ".mask", ".weight")


@dataclass(frozen=True)
class GivenMasks:
    """Masks as a user gives them, ready for `fit_masks`.

    Attributes:
        masks: bool, by canonical layer name.
        orders: int64, by convolution: the orders of channels that the masks are for (see
            bottlenecks.order_channels); empty where the original one.
        notes: what a report should say of them.
    """

    masks: dict[str, Tensor]
    orders: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_given(source: str | os.PathLike[str] | Mapping[str, Tensor]) -> GivenMasks:
    """Everything that a mapping or a file of masks says; see load_masks. A mapping is taken whole,
    and has no orders."""
    if isinstance(source, Mapping):
        return GivenMasks(_from_mapping(source))
    content = read_masks(source)
    notes = () if not content.left_out else (left_out_note(content.left_out),)
    return GivenMasks(canonical_masks(content.masks), read_orders(content.header), notes)


def left_out_note(layers: Sequence[str]) -> str:
    """What to tell of a file's layers that are not applied."""
    return (
        f"{', '.join(layers)}: the file has masks for the stem, which OpenTrans's own loader "
        "leaves out; left out here too"
    )


def load_masks(source: str | os.PathLike[str] | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks (bool) by canonical layer name (`layer1.0.conv1`): from a mapping or a file.

    Files are those of `sparse_ovs.pruning.masks.save`, safetensors, and torch files such as
    OpenTrans's: {"backbone": {"layer1.0.conv1.weight_mask": ...}}, without the stem that such a
    file may name. Names may be those of any framework that `canonical_name` knows.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, one without masks, values other than 0 and 1, or two masks for
            one layer.
    """
    return read_given(source).masks


def _from_mapping(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not source:
        raise ValueError("expected masks by layer name, got none")
    masks = {}
    for key, tensor in source.items():
        suffix = next((suffix for suffix in _SUFFIXES if key.endswith(suffix)), "")
        masks[key.removesuffix(suffix)] = as_mask(key, tensor)
    return canonical_masks(masks)


def read_orders(header: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """The orders that a mask file's header holds.

    Raises:
        FileFormatError: something else in their place.
    """
    orders = (header or {}).get("orders", {})
    try:
        return {name: torch.tensor(order, dtype=torch.int64) for name, order in orders.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise FileFormatError(f"expected orders of channels in the header: {error}") from error


def canonical_masks(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masks by canonical layer names.

    Raises:
        ValueError: two masks for one layer.
    """
    renamed: dict[str, Tensor] = {}
    for name, mask in masks.items():
        canonical = canonical_name(name)
        if canonical in renamed:
            raise ValueError(f"expected one mask for {canonical}, got another one named {name}")
        renamed[canonical] = mask
    return renamed


def rename_masks(masks: Mapping[str, Tensor], names: str) -> dict[str, Tensor]:
    """The masks by the names that a framework gives to their layers; see `framework_name`."""
    return {framework_name(name, names): mask for name, mask in load_masks(masks).items()}


def fit_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masks by the names of the model's own layers, ready for `sparsify(model, masks=...)`.

    The model may be a backbone of this project, an encoder of open_clip or timm, or anything that
    holds one (fc-clip, DataParallel); where a model holds two towers, the image tower "visual" is
    meant. Of a model with several encoders, give the part that holds one. Layers without a mask are
    left out.

    Raises:
        ValueError: all masks together that have no layer, several layers, or one of another shape.
    """
    owners = weight_owners(model)
    places: dict[str, list[str]] = defaultdict(list)
    for name in owners:
        places[canonical_name(name)].append(name)
    fitted = {}
    problems = []
    for name, mask in load_masks(masks).items():
        candidates = places.get(name, [])
        in_image_tower = [place for place in candidates if "visual" in place.split(".")]
        candidates = in_image_tower or candidates
        if len(candidates) != 1:
            problems.append(f"{name} ({' and '.join(candidates) or 'no such layer'})")
            continue
        module, parameter = owners[candidates[0]]
        shape = getattr(module, parameter).shape
        if mask.shape != shape:
            problems.append(f"{name} (a mask of {tuple(mask.shape)} for {tuple(shape)})")
        fitted[candidates[0]] = mask
    if problems:
        raise ValueError(
            f"expected masks that fit the layers of the model, got {len(problems)} that do not: "
            + ", ".join(problems)
        )
    return fitted
