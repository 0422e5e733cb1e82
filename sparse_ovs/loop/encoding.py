"""Nested state (state_dicts, counters, random states) as tensors and JSON, without pickle."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def encode(state: Any) -> tuple[dict[str, Tensor], Any]:
    """Splits nested state into tensors by name and a JSON-able tree that refers to them.

    Args:
        state: dicts (keys str or int), lists, tuples, strings, bools, ints, floats (nan and inf
            too), None and dense tensors, in any nesting. Subclasses come back as the plain type.

    Returns:
        tensors: contiguous copies on the CPU, named by their place, like "optimizer/state/0/sum".
        tree: what `decode` needs beside them.

    Raises:
        TypeError: anything else; says where it is.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _encode(state, "", tensors)


def decode(tensors: dict[str, Tensor], tree: Any) -> Any:
    """The state that `encode` was given, tensors on the CPU.

    Raises:
        KeyError: a tensor that the tree names is missing.
        ValueError: no tree of `encode`.
    """
    if isinstance(tree, list):
        return [decode(tensors, item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) != 1:
        raise ValueError(f"expected one kind, got {sorted(tree)}")
    ((kind, value),) = tree.items()
    if kind not in _DECODERS:
        raise ValueError(f"expected one of {sorted(_DECODERS)}, got {kind!r}")
    return _DECODERS[kind](tensors, value)


_DECODERS: dict[str, Callable[[dict[str, Tensor], Any], Any]] = {
    "tensor": lambda tensors, name: tensors[name],
    "tuple": lambda tensors, items: tuple(decode(tensors, item) for item in items),
    "dict": lambda tensors, pairs: {key: decode(tensors, item) for key, item in pairs},
    "float": lambda tensors, text: float(text),
}


def _encode(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        number = float(value)
        # JSON has no nan and no inf; of all others Python writes digits that read back exactly.
        return number if math.isfinite(number) else {"float": repr(number)}
    if isinstance(value, Tensor):
        return {"tensor": _keep(value, place, tensors)}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{place}/{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        # Pairs, since JSON's own objects would turn int keys into strings.
        return {
            "dict": [
                [_key(key, place), _encode(item, f"{place}/{key}", tensors)]
                for key, item in value.items()
            ]
        }
    raise TypeError(
        "expected dicts, lists, tuples, strings, numbers, None and tensors as state, got "
        f"{type(value).__name__} at {place or '/'}"
    )


def _key(key: object, place: str) -> str | int:
    if isinstance(key, (str, int)) and not isinstance(key, bool):
        return key
    raise TypeError(f"expected str and int as keys of state, got {key!r} at {place or '/'}")


def _keep(tensor: Tensor, place: str, tensors: dict[str, Tensor]) -> str:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        raise TypeError(
            f"expected dense tensors as state, got a {tensor.device} tensor of layout "
            f"{tensor.layout} and dtype {tensor.dtype} at {place or '/'}"
        )
    name = place.removeprefix("/") or "tensor"
    while name in tensors:  # keys 1 and "1", or keys with slashes
        name += "'"
    # A copy: safetensors refuses tensors that share memory.
    tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return name
