"""Mask files: one sparse subnetwork, saved once and applied in any framework."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

import torch
from torch import Tensor, nn

from sparse_ovs.backbones.bottlenecks import order_channels
from sparse_ovs.backbones.layer_names import canonical_name
from sparse_ovs.backbones.masks import (
    canonical_masks,
    fit_masks,
    load_masks,
    read_orders,
    rename_masks,
)
from sparse_ovs.formats import FileFormatError, read_masks, write_masks
from sparse_ovs.nn.named_weights import weight_owners
from sparse_ovs.nn.prune_import import resolve_pruned
from sparse_ovs.patterns import parse_pattern
from sparse_ovs.version import __version__


@dataclass(frozen=True)
class MaskInfo:
    """Where masks come from.

    Attributes:
        model: the encoder and its weights, such as "RN50-quickgelu openai".
        pattern: see `sparse_ovs.make_mask`.
        criterion: what chose the weights, such as "magnitude global" or "random".
        schedule: in which steps, such as "one-shot" or "iterative 0.1, 22 rounds".
        seed: of random masks, or of the training between rounds; None where nothing was random.
        weights: what lies under the masks: "original", the model's own weights, or "trained", those
            that training between the rounds left.
        library: version of sparse_ovs that made them.
    """

    model: str
    pattern: str
    criterion: str
    schedule: str
    seed: int | None
    weights: Literal["original", "trained"]
    library: str = __version__

    def __post_init__(self) -> None:
        parse_pattern(self.pattern)
        if self.weights not in ("original", "trained"):
            raise ValueError(f"expected weights 'original' or 'trained', got {self.weights!r}")


@dataclass(frozen=True)
class MaskFile:
    """What a mask file holds.

    Attributes:
        masks: bool, by canonical layer name (`layer1.0.conv1`).
        info: None for a file of others, which does not say.
        orders: int64, by convolution: the order that channels inside bottlenecks must have for
            these masks (see permute_for_blocks); empty where the original one.
        left_out: the stem's layers that a file of OpenTrans names beside these, as OpenTrans's own
            loader leaves them out.
    """

    masks: dict[str, Tensor]
    info: MaskInfo | None
    orders: dict[str, Tensor] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def densities(self) -> dict[str, float]:
        """Kept fraction of each layer."""
        return {name: int(mask.sum()) / mask.numel() for name, mask in self.masks.items()}

    @property
    def density(self) -> float:
        """Kept fraction of all layers together."""
        total = sum(mask.numel() for mask in self.masks.values())
        return sum(int(mask.sum()) for mask in self.masks.values()) / total


def save(
    path: str | os.PathLike[str],
    masks: Mapping[str, Tensor],
    info: MaskInfo,
    orders: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the masks and where they come from; atomic.

    Args:
        masks: bool, or 0 and 1, by layer name of any framework; the file has canonical names.
        info: where they come from.
        orders: of channels that the masks are for, as in PermutationReport.

    Raises:
        ValueError: no masks, two for one layer, or values other than 0 and 1.
    """
    header = asdict(info)
    if orders:
        header["orders"] = {canonical_name(name): o.tolist() for name, o in orders.items()}
    write_masks(path, load_masks(masks), header)


def load(path: str | os.PathLike[str]) -> MaskFile:
    """Reads a file of `save`, safetensors of others, or a torch file such as OpenTrans's.

    Raises:
        FileNotFoundError: no such file.
        FileFormatError: a damaged or newer file, or one without masks.
        ValueError: two masks for one layer.
    """
    content = read_masks(path)
    masks, header = canonical_masks(content.masks), content.header
    if header is None:
        return MaskFile(masks, None, left_out=content.left_out)
    try:
        info = MaskInfo(**{own.name: header[own.name] for own in fields(MaskInfo)})
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            f"expected a header that says where masks come from, got another in {path}: {error}"
        ) from error
    return MaskFile(masks, info, read_orders(header))


@torch.no_grad()
def apply(
    model: nn.Module, masks: Mapping[str, Tensor], orders: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Zeroes the model's weights outside the masks, and returns the masks by the model's own names.

    The weights stay dense and nothing holds the zeros: `sparsify(model, masks=...)` with the
    returned masks makes them fast. Pairs of torch.nn.utils.prune and parametrizations of masked
    layers become plain parameters.

    Args:
        model: a backbone of this project, an encoder of open_clip or timm, or a model that holds
            one.
        masks: by layer name of any framework.
        orders: of MaskFile: channels inside bottlenecks are put into them first, exactly; weights
            that are in these orders already must not be given them again.

    Returns:
        bool masks by module name, on the devices they came on.

    Raises:
        ValueError: all masks, or all orders, together that do not fit; the model is unchanged.
    """
    fitted = fit_masks(model, masks)
    order_channels(model, orders or {})
    owners = weight_owners(model)
    for name, mask in fitted.items():
        module, parameter = owners[name]
        resolve_pruned(module)
        weight = getattr(module, parameter)
        # Filled, not multiplied: a NaN times zero is a NaN, and -1 times zero is -0.
        weight.masked_fill_(~mask.to(weight.device), 0)
    return fitted


def export(masks: Mapping[str, Tensor], names: str) -> dict[str, Tensor]:
    """The masks by another framework's layer names.

    Args:
        names: "open_clip", "timm", "timm_features" or "fc-clip" (see
            `sparse_ovs.backbones.layer_names.framework_name`), or "backbone": by the keys that
            OpenTrans reads, `layer1.0.conv1.weight_mask`, once they lie under "backbone" in a file:
            torch.save({"backbone": export(masks, "backbone")}, path).

    Raises:
        ValueError: another framework, or a layer that it has no name for.
    """
    renamed = rename_masks(masks, names)
    if names == "backbone":
        return {f"{name}.weight_mask": mask for name, mask in renamed.items()}
    return renamed
