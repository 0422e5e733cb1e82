"""Files of masks: ours, safetensors of others, and torch files such as OpenTrans writes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from sparse_ovs.formats.files import FileFormatError, ForeignFileError, read_file, write_file
from sparse_ovs.formats.torch_files import bare_keys, load_torch_file

KIND = "masks"
_SUFFIXES = (".weight_mask", "_weight_mask", ".mask")
# OpenTrans's files have the blocks' masks under such names, and the stem's beside them.
_BLOCK = re.compile(r"layer[1-4]\.\d+\..+\.weight_mask")
_STEM = re.compile(r"conv[123]\.weight_mask")


@dataclass(frozen=True)
class MaskContent:
    """What a file of masks holds.

    Attributes:
        masks: bool, by the file's own layer names, without the prefixes of DataParallel and
            torch.compile.
        header: None for files of others.
        left_out: the stem's layers of a file of OpenTrans, which are not among the masks:
            OpenTrans's own loader leaves the stem dense.
    """

    masks: dict[str, Tensor]
    header: dict[str, Any] | None
    left_out: tuple[str, ...] = ()


def write_masks(
    path: str | os.PathLike[str], masks: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Writes `<layer>.weight_mask` (bool) for each layer, with a header; atomic.

    Beside what it says, the header gets the format version, the density of all layers together, and
    of each layer how many weights it keeps and its density.
    """
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    layers = {
        name: {"kept": kept[name], "density": kept[name] / mask.numel()}
        for name, mask in masks.items()
    }
    density = sum(kept.values()) / sum(mask.numel() for mask in masks.values())
    tensors = {
        # safetensors refuses tensors that share memory: every one is written for itself.
        f"{name}.weight_mask": mask.detach().cpu().contiguous().clone()
        for name, mask in masks.items()
    }
    write_file(path, tensors, {"kind": KIND, **header, "density": density, "layers": layers})


def read_masks(path: str | os.PathLike[str]) -> MaskContent:
    """Reads a file of masks, ours or that of others.

    Files of others are safetensors, or torch files with a dict of tensors, also one level down
    under "backbone", "state_dict" or "model". Keys that end in `weight_mask` (or `.mask`) count,
    with values 0 and 1 of any dtype. Torch files are read without running code of theirs. Of files
    in OpenTrans's form (`layer1.0.conv1.weight_mask` beside `conv1.weight_mask`) the stem is left
    out; a file of ours is taken whole.

    Raises:
        FileNotFoundError: no such file.
        FileFormatError: a damaged or newer file, one that holds no masks, or values other than 0
            and 1.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a file of masks, got none at {path}")
    header: dict[str, Any] | None
    try:
        tensors, header = read_file(path)
    except ForeignFileError:
        tensors, header = _read_foreign(path), None
    if header is not None and header.get("kind") != KIND:
        raise FileFormatError(
            f"expected a file of masks, got a {header.get('kind', 'saved model')}: {path}"
        )
    left_out: tuple[str, ...] = ()
    if header is None and any(_BLOCK.fullmatch(key) for key in tensors):
        left_out = tuple(key for key in tensors if _STEM.fullmatch(key))
    masks = {}
    for key, tensor in tensors.items():
        if key in left_out:
            continue
        suffix = next((suffix for suffix in _SUFFIXES if key.endswith(suffix)), None)
        if suffix is not None:
            try:
                masks[key.removesuffix(suffix)] = as_mask(key, tensor)
            except ValueError as error:
                raise FileFormatError(f"{error} in {path}") from error
    if not masks:
        raise FileFormatError(f"expected masks named '<layer>.weight_mask', got none in {path}")
    if header is not None:
        _check_counts(path, masks, header)
    return MaskContent(masks, header, tuple(key.removesuffix(_SUFFIXES[0]) for key in left_out))


def as_mask(name: str, tensor: Tensor) -> Tensor:
    """The tensor as bool.

    Raises:
        ValueError: values other than 0 and 1.
    """
    if tensor.dtype == torch.bool:
        return tensor
    kept = tensor != 0
    if not torch.equal(kept.to(tensor.dtype), tensor):
        raise ValueError(f"expected a mask of 0 and 1 for {name}, got other values")
    return kept


def _read_foreign(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = load_torch_file(path)
    except (ValueError, OSError, safetensors.SafetensorError) as error:
        raise FileFormatError(
            f"expected a file of masks, got a damaged or foreign one: {path}"
        ) from error
    for key in ("backbone", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise FileFormatError(f"expected a dict of masks in {path}, got {type(content).__name__}")
    tensors = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    try:
        return bare_keys(tensors)
    except ValueError as error:
        raise FileFormatError(f"{error} in {path}") from error


def _check_counts(path: Path, masks: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """safetensors has no checksum: flipped bits show where the counts are not the header's."""
    try:
        said = {name: layer["kept"] for name, layer in header["layers"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"expected the counts of each layer in the header of {path}, got none"
        ) from error
    found = {name: int(mask.sum()) for name, mask in masks.items()}
    wrong = sorted(name for name in said | found if said.get(name) != found.get(name))
    if wrong:
        raise FileFormatError(
            f"expected as many kept weights as the header says, got others in {path}: "
            f"{', '.join(wrong)}"
        )
