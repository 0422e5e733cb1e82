"""Reads mask files: boolean tensors by layer, as written by this project or by others."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

_SUFFIXES = (".weight_mask", ".mask", ".weight")
# What frameworks put before the encoder's own names.
_PREFIX = re.compile(r"^.*?(?=(?:layer\d|transformer\.resblocks|stages)\.)")


def load_masks(source: str | os.PathLike[str] | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks by layer name (`layer1.0.conv1`): from a mapping, a safetensors file, or a torch file.

    Torch files are those of OpenTrans: {"backbone": {"layer1.0.conv1.weight_mask": ...}}; every key
    that ends in `weight_mask` counts. Prefixes such as "backbone." or "visual." are dropped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file without masks, or with values other than 0 and 1.
    """
    if isinstance(source, Mapping):
        tensors, named = dict(source), False
    else:
        tensors, named = _read(Path(source)), True
    masks = {}
    for key, tensor in tensors.items():
        if named and not key.endswith(_SUFFIXES[:2]):
            continue
        name = key
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        masks[_PREFIX.sub("", name)] = _as_bool(key, tensor)
    if not masks:
        raise ValueError(f"expected masks named '<layer>.weight_mask', got none in {source}")
    return masks


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"expected a file of masks, got none at {path}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, pickle, zipfile and torch each raise their own
        raise ValueError(
            f"expected a file of masks, got a damaged or foreign one: {path}"
        ) from error
    for key in ("backbone", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ValueError(f"expected a dict of masks in {path}, got {type(content).__name__}")
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def _as_bool(key: str, tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.bool:
        return tensor
    kept = tensor != 0
    if not torch.equal(kept.to(tensor.dtype), tensor):
        raise ValueError(f"expected a mask of 0 and 1 for {key}, got other values")
    return kept
