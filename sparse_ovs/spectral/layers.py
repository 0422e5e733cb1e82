"""The weights of an encoder that have a spectrum, by canonical layer name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sparse_ovs.backbones.layer_names import canonical_name
from sparse_ovs.nn.named_weights import weight_owners

# A Linear that is so many times as long as wide, or more, has too few eigenvalues for its size.
MAX_ASPECT = 8


@dataclass(frozen=True)
class SpectralLayer:
    """One weight to analyse.

    Attributes:
        name: canonical (`layer1.0.conv1`); attention's are `<attention>.in_proj.q`, `.k`, `.v` and
            `<attention>.out_proj`.
        owner: the name of the mask that covers it, in the model at hand; q, k and v share one.
        weight: (O, I) or (O, I, kh, kw), detached.
    """

    name: str
    owner: str
    weight: Tensor


def spectral_layers(model: nn.Module) -> list[SpectralLayer]:
    """Convolutions, linear layers with an aspect ratio below 8, and attention's projections, in
    module order. Grouped convolutions have no matrices worth the name and are left out.

    Args:
        model: an image encoder of any framework, such as a Backbone.

    Raises:
        ValueError: two layers of one canonical name (a model of two towers), or no layer.
    """
    layers: list[SpectralLayer] = []
    owner_of: dict[str, str] = {}
    for owner, (module, parameter) in weight_owners(model).items():
        weight = getattr(module, parameter).detach()
        if isinstance(module, nn.Conv2d) and module.groups != 1:
            continue
        if isinstance(module, nn.Linear) and max(weight.shape) >= MAX_ASPECT * min(weight.shape):
            continue
        name = canonical_name(owner)
        if name in owner_of:
            raise ValueError(
                f"expected one image encoder, got two layers that are its {name}: "
                f"{owner_of[name]} and {owner}"
            )
        owner_of[name] = owner
        if isinstance(module, nn.MultiheadAttention):
            parts = zip("qkv", weight.chunk(3), strict=True)
            layers += [SpectralLayer(f"{name}.{part}", owner, rows) for part, rows in parts]
        else:
            layers.append(SpectralLayer(name, owner, weight))
    if not layers:
        raise ValueError("expected a model with convolutions or linear layers, got none")
    return layers
