"""A model's state_dict with its sparse weights packed: made for a file, read, put into a model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.formats import FileFormatError, ForeignFileError, PackedWeight, pack, read_file
from sparse_ovs.nn.attention import SparseMultiheadAttention
from sparse_ovs.nn.conv import SparseConv2d
from sparse_ovs.nn.eligible import candidates
from sparse_ovs.nn.linear import SparseLinear
from sparse_ovs.nn.sparsify import sparsify
from sparse_ovs.nn.structure import SparseWeight

_PARTS = ("values", "indices", "row_ptr")


@dataclass
class Checkpoint:
    """A file's content: the dense state_dict, and what is known of each sparse layer."""

    state: dict[str, Tensor]
    masks: dict[str, Tensor]
    patterns: dict[str, str]
    model: dict[str, Any] | None


def pack_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state_dict with its sparse weights packed, ready for a file, and what `unpack_state`
    needs to know of them.

    Raises:
        TypeError: sparse weights that are not float32.
    """
    tensors = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    layers = {}
    for key, name, layer in _sparse_weights(model):
        if bool(layer.mask.all()):
            continue  # smaller as it is
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
    # safetensors refuses tensors that share memory: every one is written for itself.
    return {name: value.contiguous().clone() for name, value in tensors.items()}, layers


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads and unpacks a file; see `sparse_ovs.load` for errors."""
    tensors, header = read_file(path)
    if header.get("kind") == "plan":
        raise FileFormatError(f"expected a saved model, got a plan, which load_plan reads: {path}")
    if header.get("kind") == "masks":
        raise FileFormatError(
            f"expected a saved model, got masks, which pruning.masks.load reads: {path}"
        )
    if header.get("kind") == "segmenter":
        raise FileFormatError(
            "expected a saved model, got a segmenter, which Segmenter.from_pretrained reads: "
            f"{path}"
        )
    return unpack_state(tensors, header, path)


def unpack_state(
    tensors: dict[str, Tensor], header: dict[str, Any], path: str | os.PathLike[str]
) -> Checkpoint:
    """What `pack_state` packed; `header` holds its second result as "layers", and the "model".

    Raises:
        FileFormatError: damaged layers; the path is named.
    """
    tensors = dict(tensors)
    masks, patterns = {}, {}
    try:
        for key, info in header["layers"].items():
            if key not in (f"{info['layer']}.weight", f"{info['layer']}_weight"):
                raise ValueError(f"layer {info['layer']!r} does not own {key!r}")
            values, indices, row_ptr = (tensors.pop(f"{key}.{part}") for part in _PARTS)
            if values.dtype != torch.float32:
                raise TypeError(f"expected values of dtype torch.float32, got {values.dtype}")
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
        return read(path)
    except ForeignFileError:
        return None


def fill(model: nn.Module, content: Checkpoint) -> None:
    """Loads the weights and makes the file's sparse layers sparse in the model; all or nothing.

    Raises:
        FileFormatError: keys, shapes or sparse layers that are not the model's.
    """
    _check_fits(model, content)
    for _, name, layer in _sparse_weights(model):
        # The file's masks go on before its weights come, or the old ones would cut them.
        everything = torch.ones_like(layer.mask)
        mask = content.masks.get(name)
        layer.mask = everything if mask is None else mask.to(layer.mask.device)
    model.load_state_dict(content.state)
    if content.masks:
        sparsify(model, "unstructured", None, masks=content.masks)
    for _, name, layer in _sparse_weights(model):
        layer.set_mask(layer.mask)  # packs what was only marked above
        layer.pattern = content.patterns.get(name, layer.pattern)


def _check_fits(model: nn.Module, content: Checkpoint) -> None:
    own = model.state_dict()
    shapes = {key for key, v in content.state.items() if key in own and own[key].shape != v.shape}
    layers = {c.name for c in candidates(model) if not c.reason}
    layers |= {f"{name}.in_proj" for name in layers} | {f"{name}.out_proj" for name in layers}
    for problem, names in (
        ("misses", set(own) - set(content.state)),
        ("has unknown", set(content.state) - set(own)),
        ("has another shape of", shapes),
        ("has a mask for", set(content.masks) - layers),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise FileFormatError(
                f"expected a file that fits the model, got one that {problem} {min(names)}{more}"
            )


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
