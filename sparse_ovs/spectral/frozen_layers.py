"""Finds the layers of a selection in a model, whatever it calls them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from sparse_ovs.backbones.layer_names import canonical_name
from sparse_ovs.nn.named_weights import weight_owners
from sparse_ovs.nn.wrappers import bare_name
from sparse_ovs.spectral.selection import Selection

_PARTS = "qkv"


@dataclass(frozen=True)
class FrozenLayer:
    """One layer to freeze.

    Attributes:
        name: in the model; attention's joint projection is `<attention>.in_proj`.
        module: holds the weight.
        parts: of q, k and v, those to freeze; "" for a layer that is none of them.
    """

    name: str
    module: nn.Module
    parts: str = ""


def find_layers(model: nn.Module, selection: Selection | Iterable[str]) -> list[FrozenLayer]:
    """The frozen layers of a selection, in the order of the model.

    Args:
        model: without wrappers.
        selection: or names: the model's own (`module.` in front will do) or canonical ones;
            `<attention>.in_proj.q`, `.k` and `.v` are parts, `<attention>.in_proj` all three.

    Raises:
        TypeError: one name instead of several.
        ValueError: names that fit no layer or several, and weights of another shape than the
            selection's; lists all of them.
    """
    if isinstance(selection, str):
        raise TypeError(f"expected a selection or several names, got the string {selection!r}")
    shapes: dict[str, tuple[int, ...]] = {}
    if isinstance(selection, Selection):
        shapes = {layer.name: layer.shape for layer in selection.layers}
        selection = selection.frozen
    owners = weight_owners(model)
    canonical: dict[str, list[str]] = {}
    for name in owners:
        canonical.setdefault(canonical_name(name), []).append(name)
    parts: dict[str, set[str]] = {}
    problems = []
    for given in selection:
        whole, part = _split(given)
        found = _find(whole, owners, canonical)
        problem = ""
        if len(found) != 1:
            problem = "no such layer" if not found else f"may be {' or '.join(found)}"
        else:
            module, parameter = owners[found[0]]
            joint = parameter == "in_proj_weight"
            shape = tuple(getattr(module, parameter).shape)
            if part and not joint:
                problem = "no such layer"
            elif given in shapes:
                shape = (shape[0] // 3, shape[1]) if part else shape
                wanted = tuple(shapes[given])
                problem = "" if shape == wanted else f"{shape}, selected as {wanted}"
            parts.setdefault(found[0], set()).update((part or _PARTS) if joint else "")
        problems += [f"{given} ({problem})"] if problem else []
    if problems:
        raise ValueError(f"expected layers of the model, got {', '.join(problems)}")
    return [
        FrozenLayer(name, owners[name][0], "".join(sorted(parts[name], key=_PARTS.index)))
        for name in owners
        if name in parts
    ]


def _split(name: str) -> tuple[str, str]:
    whole, _, part = name.rpartition(".")
    return (whole, part) if part in {*_PARTS} and whole.endswith("in_proj") else (name, "")


def _find(given: str, owners: Iterable[str], canonical: dict[str, list[str]]) -> list[str]:
    """The model's names for a layer: the very name, unless it is also the canonical name of
    another layer (a text tower's blocks are called as an image tower's are canonically)."""
    known = set(owners)
    name = bare_name(given, known)
    shared = canonical_name(name)
    if name in known and name != shared:
        return [name]
    return canonical.get(shared, [])
