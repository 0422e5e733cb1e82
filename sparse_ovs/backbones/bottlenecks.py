"""The channels inside bottlenecks, which may take any order without changing the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparse_ovs.backbones.layer_names import canonical_name

# Where a kind of bottleneck keeps its convolutions and norms: open_clip's ResNets, as well as
# torchvision's and timm's; timm's ByobNet, which resnet50_clip is made of; and transformers'.
_LAYOUTS = (
    ("conv1", "bn1", "conv2", "bn2", "conv3"),
    ("conv1_1x1.conv", "conv1_1x1.bn", "conv2_kxk.conv", "conv2_kxk.bn", "conv3_1x1.conv"),
    (
        "layer.0.convolution",
        "layer.0.normalization",
        "layer.1.convolution",
        "layer.1.normalization",
        "layer.2.convolution",
    ),
)
# What else may hold parameters: none of these sees the internal channels.
_OUTSIDE = ("bn3.", "downsample.", "conv3_1x1.bn.", "layer.2.normalization.", "shortcut.")


@dataclass(frozen=True)
class InternalChannels:
    """Output channels of one convolution that only its norm and the next convolution see.

    Attributes:
        conv: name of the convolution, in the model.
        norm: name of the BatchNorm behind it.
        reader: name of the convolution that reads the channels.
    """

    conv: str
    norm: str
    reader: str


def find_internal_channels(model: nn.Module) -> list[InternalChannels]:
    """The outputs of the first and of the second convolution of every bottleneck, in module order.

    Bottlenecks with other layers inside (attention, grouped or further convolutions) are left out.
    """
    found = []
    for name, block in model.named_modules():
        prefix = f"{name}." if name else ""
        for layout in _LAYOUTS:
            if _is_bottleneck(block, layout):
                first, norm1, second, norm2, third = (prefix + part for part in layout)
                found.append(InternalChannels(first, norm1, second))
                found.append(InternalChannels(second, norm2, third))
    return found


def order_channels(model: nn.Module, orders: Mapping[str, Tensor]) -> None:
    """Puts the channels inside bottlenecks into the orders of a mask file, in place and exactly,
    whatever framework holds the encoder.

    Args:
        model: with the weights in their original order.
        orders: by convolution, any framework's name; see permute_internal_channels.

    Raises:
        ValueError: all orders together that have no such convolution, or are no permutation of its
            channels; the model is unchanged.
    """
    known = {canonical_name(channels.conv): channels for channels in find_internal_channels(model)}
    named = {canonical_name(name): order for name, order in orders.items()}
    problems = []
    for name, order in named.items():
        if name not in known:
            problems.append(f"{name} (not the first or second convolution of a bottleneck)")
        elif not _is_permutation(order, _conv(model, known[name]).out_channels):
            problems.append(f"{name} (no permutation of its channels)")
    if problems:
        raise ValueError(
            f"expected orders that fit the bottlenecks of the model, got {len(problems)} that do "
            f"not: {', '.join(problems)}"
        )
    for name, order in named.items():
        permute_internal_channels(model, known[name], order)


def permute_internal_channels(model: nn.Module, channels: InternalChannels, order: Tensor) -> None:
    """Puts the channels into another order, in place and exactly: new channel i is the old channel
    order[i]. The network computes what it did, up to the order of the reader's sums.

    Optimiser state and masks made before keep the old order.

    Args:
        order: int64 (O,), a permutation of the O output channels.

    Raises:
        ValueError: not a permutation.
    """
    conv = _conv(model, channels)
    norm = model.get_submodule(channels.norm)
    reader = model.get_submodule(channels.reader)
    if not _is_permutation(order, conv.out_channels):
        raise ValueError(
            f"expected a permutation of the {conv.out_channels} channels of {channels.conv}"
        )
    with torch.no_grad():
        for tensor in (conv.weight, conv.bias, *norm.parameters(), *norm.buffers()):
            if tensor is not None and tensor.dim():  # num_batches_tracked is a scalar
                tensor.copy_(tensor[order.to(tensor.device)])
        inputs: Tensor = reader.weight  # type: ignore[assignment]
        inputs.copy_(inputs[:, order.to(inputs.device)])


def _conv(model: nn.Module, channels: InternalChannels) -> nn.Conv2d:
    conv = model.get_submodule(channels.conv)
    assert isinstance(conv, nn.Conv2d)
    return conv


def _is_permutation(order: Tensor, count: int) -> bool:
    return torch.equal(order.sort().values.cpu(), torch.arange(count))


def _is_bottleneck(block: nn.Module, layout: tuple[str, ...]) -> bool:
    modules = dict(block.named_modules())
    if not all(part in modules for part in layout):
        return False
    first, norm1, second, norm2, third = (modules[part] for part in layout)
    convs = (first, second, third)
    # A parametrised or masked weight is no parameter: it would be computed anew from the old order.
    if not all(
        isinstance(conv, nn.Conv2d)
        and conv.groups == 1
        and isinstance(dict(conv.named_parameters()).get("weight"), nn.Parameter)
        for conv in convs
    ):
        return False
    if not isinstance(norm1, _BatchNorm) or not isinstance(norm2, _BatchNorm):
        return False
    known = (*(f"{part}." for part in layout), *_OUTSIDE)
    return all(name.startswith(known) for name, _ in block.named_parameters())
