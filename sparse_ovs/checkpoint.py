"""Saves and loads sparse models: packed weights in one small file that rebuilds the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.formats import FileFormatError, PackedWeight, pack, read_file, write_file
from sparse_ovs.nn import SparseConv2d, SparseLinear, SparseMultiheadAttention, sparsify
from sparse_ovs.nn.structure import SparseWeight

_PARTS = ("values", "indices", "row_ptr")


@dataclass
class Checkpoint:
    """A file's content: the dense state_dict, and what is known of each sparse layer."""

    state: dict[str, Tensor]
    masks: dict[str, Tensor]
    patterns: dict[str, str]
    model: dict[str, Any] | None


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes the model's state_dict with its sparse weights packed; atomic.

    A backbone of `create_backbone` is rebuilt by `load(path)` alone; any other model by `load(path,
    model)`.

    Raises:
        TypeError: sparse weights that are not float32.
    """
    tensors = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    layers = {}
    for key, name, layer in _sparse_weights(model):
        packed = pack(tensors.pop(key), layer.mask.cpu(), layer.block_rows)
        for part in _PARTS:
            tensors[f"{key}.{part}"] = getattr(packed, part)
        layers[key] = {
            "layer": name,
            "pattern": layer.pattern,
            "density": layer.density,
            "shape": list(packed.shape),
            "block_rows": packed.block_rows,
        }
    from sparse_ovs import __version__

    header = {"library": __version__, "model": getattr(model, "config", None), "layers": layers}
    # safetensors refuses tensors that share memory: every one is written for itself.
    write_file(path, {name: value.contiguous().clone() for name, value in tensors.items()}, header)


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """Rebuilds a saved backbone, or fills the given model, dense or sparse, in place.

    Raises:
        FileNotFoundError: no such file.
        FileFormatError: a damaged, foreign or newer file, or one that does not fit the model; the
            model is unchanged.
        ValueError: no model is given and the file does not say how to build one.
    """
    content = read(path)
    if model is None:
        if content.model is None:
            raise ValueError(f"expected a model to fill, got None, and {path} holds no backbone")
        from sparse_ovs.backbones import create_backbone

        model = create_backbone(**content.model)
    fill(model, content)
    return model


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads and unpacks a file; see `load` for errors."""
    tensors, header = read_file(path)
    masks, patterns = {}, {}
    try:
        for key, info in header["layers"].items():
            values, indices, row_ptr = (tensors.pop(f"{key}.{part}") for part in _PARTS)
            packed = PackedWeight(
                values, indices, row_ptr, tuple(info["shape"]), info["block_rows"]
            )
            tensors[key] = packed.to_dense()
            # Slots of a block that the mask leaves out hold zero.
            mask = packed.mask()
            masks[info["layer"]] = mask if packed.block_rows == 1 else mask & (tensors[key] != 0)
            patterns[info["layer"]] = str(info["pattern"])
        return Checkpoint(tensors, masks, patterns, header["model"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"expected whole packed layers, got damaged ones in {path}: {error}"
        ) from error


def read_if_ours(path: str | os.PathLike[str] | None) -> Checkpoint | None:
    """The content of a file of ours; None for anything else."""
    if path is None or not os.path.isfile(path):
        return None
    try:
        read_file(path)
    except FileFormatError as error:
        if "another one" in str(error) or "safetensors file" in str(error):
            return None
        raise
    return read(path)


def fill(model: nn.Module, content: Checkpoint) -> None:
    """Loads the weights and makes the file's sparse layers sparse in the model; all or nothing.

    Raises:
        FileFormatError: keys or shapes that differ from the model's.
    """
    own = model.state_dict()
    for kind, names in (
        ("misses", sorted(set(own) - set(content.state))),
        ("has unknown", sorted(set(content.state) - set(own))),
        (
            "has another shape of",
            sorted(k for k, v in content.state.items() if k in own and own[k].shape != v.shape),
        ),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise FileFormatError(
                f"expected a file that fits the model, got one that {kind} {names[0]}{more}"
            )
    for _, name, layer in _sparse_weights(model):
        if name not in content.masks:
            layer.set_mask(
                torch.ones_like(layer.mask)
            )  # dense in the file: nothing may be masked away
    with torch.no_grad():
        for _, name, layer in _sparse_weights(model):
            if name in content.masks:
                # The new mask goes on before the weights come, or the old one would cut them.
                layer.mask = content.masks[name].to(layer.mask.device)
    model.load_state_dict(content.state)
    if not content.masks:
        return
    sparsify(model, "unstructured", None, masks=content.masks)
    for _, name, layer in _sparse_weights(model):
        if name in content.masks:
            layer.set_mask(content.masks[name])
            layer.pattern = content.patterns[name]


def _sparse_weights(model: nn.Module) -> list[tuple[str, str, SparseWeight]]:
    """(state_dict key, layer name, layer) of every sparse weight."""
    found: list[tuple[str, str, SparseWeight]] = []
    for name, module in model.named_modules():
        dot = f"{name}." if name else ""
        if isinstance(module, SparseMultiheadAttention):
            found.append((f"{dot}in_proj_weight", f"{dot}in_proj", module.in_proj))
        elif isinstance(module, (SparseConv2d, SparseLinear)):
            found.append((f"{dot}weight", name, module))
    return found
