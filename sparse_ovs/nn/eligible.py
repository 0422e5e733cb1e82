"""Which modules of a model can be swapped, and why the others stay dense."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from sparse_ovs.nn.attention import SparseMultiheadAttention
from sparse_ovs.nn.conv import SparseConv2d
from sparse_ovs.nn.linear import SparseLinear

# Hosts that read their Linears' weights instead of calling them (CLIP's attention pool, by any
# author).
_READS_WEIGHTS = ("AttentionPool2d",)

Exclude = Iterable[str | type[nn.Module]] | str | type[nn.Module]


@dataclass
class Candidate:
    """A layer that carries weights a mask could cover.

    Attributes:
        name: in the model.
        module: the layer itself.
        kind: "conv2d", "linear" or "attention".
        reason: why it must stay dense; "" if it may be swapped.
        untouched: it may be swapped, but no mask covers it.
    """

    name: str
    module: Any
    kind: str
    reason: str = ""
    untouched: bool = False


def candidates(model: nn.Module, exclude: Exclude = ()) -> Iterator[Candidate]:
    """Every Conv2d, Linear and MultiheadAttention, subclasses that only rename included, in module
    order.

    Raises:
        TypeError: exclude holds something else than names, globs and module types.
    """
    rules = [exclude] if isinstance(exclude, (str, type)) else list(exclude)
    for rule in rules:
        if not isinstance(rule, str) and not (
            isinstance(rule, type) and issubclass(rule, nn.Module)
        ):
            raise TypeError(f"expected names, globs or module types in exclude, got {rule!r}")
    owners = Counter(
        id(parameter)
        for module in model.modules()
        for parameter in module._parameters.values()
        if parameter is not None
    )
    attention_parts: set[int] = set()
    weight_readers: dict[int, str] = {}
    for name, module in model.named_modules():
        if type(module).__name__ in _READS_WEIGHTS:
            for child in module.children():
                weight_readers[id(child)] = type(module).__name__
        kind = _kind(module)
        if not kind or id(module) in attention_parts:
            continue
        if isinstance(module, nn.MultiheadAttention):
            attention_parts.add(id(module.out_proj))
        found = Candidate(name, module, kind)
        if _excluded(name, module, rules):
            found.reason = "excluded"
        elif id(module) in weight_readers:
            found.reason = f"{weight_readers[id(module)]} reads .weight directly"
        elif isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            found.reason = "depthwise convolutions have too few weights to skip"
        elif isinstance(module, nn.MultiheadAttention):
            found.reason = "; ".join(SparseMultiheadAttention.unsupported_reasons(module))
        elif owners[id(module._parameters.get("weight"))] > 1:
            found.reason = "its weight is shared with another module"
        yield found


def _kind(module: nn.Module) -> str:
    """By the forward that runs: a subclass that computes something else is not ours to replace."""
    forward = type(module).forward
    if isinstance(module, nn.MultiheadAttention):
        own = forward in (nn.MultiheadAttention.forward, SparseMultiheadAttention.forward)
        return "attention" if own else ""
    if isinstance(module, nn.Conv2d) and forward in (nn.Conv2d.forward, SparseConv2d.forward):
        return "conv2d"
    if isinstance(module, nn.Linear) and forward in (nn.Linear.forward, SparseLinear.forward):
        return "linear"
    return ""


def _excluded(name: str, module: nn.Module, rules: list[str | type[nn.Module]]) -> bool:
    return any(
        fnmatchcase(name, rule) if isinstance(rule, str) else isinstance(module, rule)
        for rule in rules
    )
