"""Freezing: chosen layers stay to the bit, and the work that only they would need is left out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from sparse_ovs.backbones.frozen_prefix import FrozenPrefix
from sparse_ovs.backbones.prefix import Prefix
from sparse_ovs.backbones.resnet import ResNetTrunk
from sparse_ovs.nn.wrappers import unwrapped
from sparse_ovs.spectral.frozen_layers import FrozenLayer, find_layers
from sparse_ovs.spectral.held_norms import hold, norm_after, release
from sparse_ovs.spectral.held_weights import HeldWeights
from sparse_ovs.spectral.selection import Selection


class Freezing:
    """What `freeze` did to a model; `thaw` undoes it.

    Attributes:
        layers: names of the frozen layers in the model, attention's parts one by one.
        norms: names of the BatchNorms that are frozen with them.
        prefixes: by the name of each ResNetTrunk in the model ("" for the model itself), what of it
            is frozen from the image on; see `FrozenPrefix.report`.
    """

    layers: tuple[str, ...]
    norms: tuple[str, ...]
    prefixes: dict[str, Prefix]

    def __init__(self, model: nn.Module, layers: list[FrozenLayer], norms: bool) -> None:
        self.layers = tuple(
            f"{one.name}.{part}" if part else one.name
            for one in layers
            for part in one.parts or [""]
        )
        found = _norms(model, layers) if norms else {}
        self.norms = tuple(found)
        self._norms = [norm for norm in found.values() if hold(norm)]
        parameters = dict[nn.Parameter, Tensor | None]()
        for layer in layers:
            parameters |= _parameters(layer)
        for norm in found.values():
            parameters |= dict.fromkeys(norm.parameters(recurse=False))
        names = {parameter: name for name, parameter in model.named_parameters()}
        self._weights = HeldWeights(model, {names[p]: rows for p, rows in parameters.items()})
        self.prefixes = {}
        self._trunks: list[ResNetTrunk] = []  # those that had no prefix before
        for name, module in model.named_modules():
            if isinstance(module, ResNetTrunk):
                if module.prefix is None:
                    module.prefix = FrozenPrefix(module)
                    self._trunks.append(module)
                self.prefixes[name] = module.prefix

    def thaw(self) -> None:
        """Lets everything learn that learnt before, BatchNorm in the mode that the model was last
        put in. Gradients that a frozen parameter had are gone; optimisers' state is as it was.

        Of several freezings of one model, thaw the last first.
        """
        self._weights.release()
        for norm in self._norms:
            release(norm)
        self._norms.clear()
        for trunk in self._trunks:
            trunk.prefix = None
        self._trunks.clear()


def freeze(
    model: nn.Module, selection: Selection | Iterable[str], *, norms: bool = False
) -> Freezing:
    """Freezes layers of a model: no weight gradient is computed for them, their weights and biases
    stay the same to the bit, and where everything from the image on is frozen, nothing is kept for
    a backward pass and a ResNetTrunk runs that part as a plan (see FrozenPrefix).

    Optimisers may be made before or after, and may hold frozen parameters: no step moves them, by
    weight decay or momentum either (see HeldWeights).

    Attention's q, k and v are rows of one parameter. Where not all three are frozen, the gradient
    of the frozen rows is zeroed, but no work is saved; a copy of the model does not hold such rows.

    Args:
        model: the encoder or a model that holds it; sparsified or not. Not yet wrapped by
            DistributedDataParallel, which must know what learns (find_unused_parameters is not
            needed then). Of its inner module that cannot be told.
        selection: or names of layers, the model's own or canonical ones (see `spectral_layers`).
        norms: freeze the BatchNorm behind each frozen convolution too: its affine parameters, and
            its statistics, which `model.train()` does not wake. Else it goes on learning, which
            needs a graph below it.

    Raises:
        TypeError: one name instead of several.
        ValueError: a model wrapped by DistributedDataParallel; names that fit no layer or several,
            or other shapes than the selection's, all together.
    """
    if any(isinstance(module, DistributedDataParallel) for module in model.modules()):
        raise ValueError(
            "expected a model not yet wrapped by DistributedDataParallel, which reduces what "
            "learnt when it was made, got one that is: freeze first, then wrap"
        )
    inner = unwrapped(model)
    return Freezing(inner, find_layers(inner, selection), norms)


def _norms(model: nn.Module, layers: list[FrozenLayer]) -> dict[str, _BatchNorm]:
    """The BatchNorms behind the convolutions among the layers, by name."""
    names = {module: name for name, module in model.named_modules()}
    found = {}
    for layer in layers:
        parent, _, child = layer.name.rpartition(".")
        if child and isinstance(layer.module, nn.Conv2d):
            norm = norm_after(model.get_submodule(parent), child)
            if norm is not None:
                # A folded norm is out of its place in eval mode.
                found[names.get(norm, f"folded into {layer.name}")] = norm
    return found


def _parameters(layer: FrozenLayer) -> dict[nn.Parameter, Tensor | None]:
    """What to hold of a layer: rows, or None for all."""
    if layer.parts:
        attention = layer.module
        assert isinstance(attention, nn.MultiheadAttention)
        parts = torch.tensor([part in layer.parts for part in "qkv"])
        rows = None if layer.parts == "qkv" else parts.repeat_interleave(attention.embed_dim)
        joint = (attention.in_proj_weight, attention.in_proj_bias)
        return {parameter: rows for parameter in joint if parameter is not None}
    # A weight may be computed from others: torch.nn.utils.prune's are the layer's own, those of a
    # parametrization are not.
    owners = [layer.module]
    if isinstance(parametrizations := getattr(layer.module, "parametrizations", None), nn.Module):
        owners += parametrizations.modules()
    return {p: None for owner in owners for p in owner.parameters(recurse=False)}
