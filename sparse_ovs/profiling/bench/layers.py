"""The distinct layers of an encoder, with what reaches them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.profiling.hooks import hooked


@dataclass(frozen=True)
class LayerCase:
    """A Conv2d or Linear of the encoder, the first of those that are alike.

    Attributes:
        name: in the encoder.
        module: a dense copy of it, in eval mode, float32.
        input_shape: of what reaches it.
    """

    name: str
    module: nn.Conv2d | nn.Linear
    input_shape: tuple[int, ...]


def layer_cases(backbone: Backbone, x: Tensor) -> list[LayerCase]:
    """One case for each kind of layer in the backbone's scope: weight, geometry and input shape.

    Args:
        backbone: dense, in eval mode.
        x: (N, 3, H, W), on its device.
    """
    scope = set(backbone.scope())
    found: dict[object, tuple[str, tuple[int, ...]]] = {}
    handles = []

    def watch(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            assert isinstance(module, (nn.Conv2d, nn.Linear))
            shape = tuple(args[0].shape)
            geometry = (module.stride, module.padding) if isinstance(module, nn.Conv2d) else ()
            kind = (type(module), tuple(module.weight.shape), geometry, shape)
            if kind not in found:
                found[kind] = name, shape

        return note

    for name, module in backbone.named_modules():
        if name in scope and isinstance(module, (nn.Conv2d, nn.Linear)):
            handles.append(module.register_forward_pre_hook(watch(name)))
    with hooked(handles), torch.no_grad():
        backbone(x)
    # Copied without the hooks.
    modules: dict[str, Any] = dict(backbone.named_modules())
    return [LayerCase(name, copy.deepcopy(modules[name]), shape) for name, shape in found.values()]
