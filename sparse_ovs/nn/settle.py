"""Settles one layer of a model: which mask it gets, and its sparse twin."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparse_ovs.nn.attention import SparseMultiheadAttention
from sparse_ovs.nn.conv import SparseConv2d
from sparse_ovs.nn.eligible import Candidate
from sparse_ovs.nn.linear import SparseLinear
from sparse_ovs.nn.structure import SparseWeight
from sparse_ovs.patterns import make_mask

Density = float | Mapping[str, float] | None


def settle(
    candidate: Candidate,
    pattern: str,
    density: Density,
    masks: Mapping[str, Tensor],
    engine: str,
) -> None:
    """Replaces candidate.module by its sparse twin, or says in the candidate why not; a twin that
    is there already gets the new mask.

    Args: see `sparsify`.
    """
    module, name = candidate.module, candidate.name
    wanted = {
        part: _wanted_mask(weight, current, part, name, pattern, density, masks)
        for part, (weight, current) in _weights(module, name).items()
    }
    given = {part: mask for part, mask in wanted.items() if mask is not None}
    if len(given) < len(wanted):
        candidate.reason, candidate.untouched = "no density or mask was given for it", True
        return
    if density is None and not masks and all(bool(mask.all()) for mask in given.values()):
        candidate.reason, candidate.untouched = "no zeros", True
        return
    # Masks that came from elsewhere need not follow the pattern: they are what they are.
    magnitudes = density is not None and not masks
    spelling = pattern if magnitudes else "unstructured"
    if isinstance(module, SparseMultiheadAttention):
        _update(module.in_proj, given[f"{name}.in_proj"], spelling, engine, magnitudes)
        _update(module.out_proj, given[f"{name}.out_proj"], spelling, engine, magnitudes)
    elif isinstance(module, SparseWeight):
        _update(module, given[name], spelling, engine, magnitudes)
    elif isinstance(module, nn.MultiheadAttention):
        candidate.module = SparseMultiheadAttention.from_dense(
            module, given[f"{name}.in_proj"], given[f"{name}.out_proj"], spelling, engine
        )
        candidate.module.set_layer_name(name)
    else:
        twin = SparseConv2d if isinstance(module, nn.Conv2d) else SparseLinear
        candidate.module = twin.from_dense(module, given[name], spelling, engine)
        candidate.module.layer_name = name


def _weights(module: nn.Module, name: str) -> dict[str, tuple[Tensor, Tensor | None]]:
    """The weights of a layer and the masks they have, by the names that masks are given by."""
    if isinstance(module, SparseMultiheadAttention):
        parts = {f"{name}.in_proj": module.in_proj, f"{name}.out_proj": module.out_proj}
        return {part: (view.weight, view.mask) for part, view in parts.items()}
    if isinstance(module, nn.MultiheadAttention):
        assert module.in_proj_weight is not None
        return {
            f"{name}.in_proj": (module.in_proj_weight, None),
            f"{name}.out_proj": (module.out_proj.weight, None),
        }
    weight = module.weight
    assert isinstance(weight, Tensor)
    return {name: (weight, module.mask if isinstance(module, SparseWeight) else None)}


def _wanted_mask(
    weight: Tensor,
    current: Tensor | None,
    name: str,
    layer: str,
    pattern: str,
    density: Density,
    masks: Mapping[str, Tensor],
) -> Tensor | None:
    """The mask for one weight; None where none is asked for."""
    if masks:
        return masks.get(name)
    if density is None:
        return weight.detach() != 0 if current is None else current
    asked = density.get(name, density.get(layer)) if isinstance(density, Mapping) else density
    return None if asked is None else make_mask(weight.detach(), pattern, asked)


def _update(
    module: SparseWeight, mask: Tensor, pattern: str, engine: str, magnitudes: bool
) -> None:
    """Re-masks a layer that is sparse already; nothing happens where the same is asked for again.

    With `magnitudes`, as many weights as now are the same weights: zeros tie, whatever their rank.
    """
    same = torch.equal(mask.to(module.mask.device), module.mask)
    if magnitudes and pattern == module.pattern:
        same = same or int(mask.sum()) == int(module.mask.sum())
    if not same:
        module.pattern = pattern
        module.set_mask(mask)
    if engine != module.engine and engine != "auto":
        module.engine, module._engine_reason = engine, ""
        module._refresh_reason()
