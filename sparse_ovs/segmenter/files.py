"""Segmenters as one safetensors file: config in its header, sparse weights packed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparse_ovs.backbones import Backbone
from sparse_ovs.engine.quantization import Quantization, unpack_quantization
from sparse_ovs.formats import FileFormatError, read_file, write_file
from sparse_ovs.heads import Head, create_head
from sparse_ovs.predictor.encoder_files import (
    fill_part,
    pack_encoder,
    pack_part,
    part_of,
    unpack_encoder,
)
from sparse_ovs.predictor.hub import find_local, find_on_hub
from sparse_ovs.segmenter.options import Options
from sparse_ovs.segmenter.shipped import shipped
from sparse_ovs.version import __version__

FILE_NAME = "segmenter.safetensors"
KIND = "segmenter"
HEAD = "head"
"""The head among the parts of a file, and among those with random weights; ClipParts has the
others."""
_QUANTIZATION = "quantization"


@dataclass(frozen=True)
class Parts:
    """What a segmenter is made of, and its file holds; the quantization of the encoder, if it
    computes in int8, too."""

    backbone: Backbone
    head: Head
    options: Options
    quantization: Quantization | None = None

    def random_parts(self) -> tuple[str, ...]:
        """In words, what has no trained weights: parts of CLIP (see ClipParts), HEAD."""
        return (*self.backbone.clip.random_parts, *((HEAD,) if self.head.untrained else ()))


def save(parts: Parts, folder: str | os.PathLike[str]) -> Path:
    """Writes FOLDER/segmenter.safetensors and makes the folder; atomic."""
    tensors, about = pack_encoder(parts.backbone)
    tensors |= pack_part(HEAD, parts.head.state_dict())
    header = {
        "kind": KIND,
        "library": __version__,
        "head": parts.head.name,
        "head_sizes": asdict(parts.head.sizes),
        "seen": parts.head.seen,
        **about,
        "options": parts.options.to_dict(),
        "random_parts": list(parts.random_parts()),
    }
    if parts.quantization is not None:
        scales, header[_QUANTIZATION] = parts.quantization.pack()
        tensors |= pack_part(_QUANTIZATION, scales)
    path = Path(folder) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, tensors, header)
    return path


def find(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The file of a path, of a folder, of a segmenter that the package brings, or of a repository
    of the hub.

    Raises:
        FileNotFoundError: a path that is neither.
        PretrainedUnavailable: a repository that cannot be downloaded.
    """
    path = find_local(source, FILE_NAME) or shipped(str(source))
    return find_on_hub(source, KIND, FILE_NAME, revision) if path is None else path


def load(
    path: Path,
    head: str | None = None,
    backbone: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Parts:
    """Rebuilds a segmenter's parts from its file.

    Args:
        head, backbone: what the file has to be of; None takes what it is.
        options: instead of the file's.

    Raises:
        FileFormatError: a damaged, foreign or newer file, or one of another head or backbone.
    """
    tensors, header = read_file(path)
    if header.get("kind") != KIND:
        raise FileFormatError(
            f"expected a segmenter's file, got another file of sparse_ovs: {path} (an encoder that "
            "`save` wrote goes into `pretrained`)"
        )
    try:
        found, name = header["head"], str(header["model"]["name"])
        sizes = header.get("head_sizes", {})  # which older files, of maskclip, lack
        seen = tuple(header.get("seen", ()))  # likewise
        settings = {**header["options"], **(options or {})}
        random_parts = tuple(header["random_parts"])
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"expected a whole segmenter, got a damaged one: {path}") from error
    for what, wanted, got in (("head", head, found), ("backbone", backbone, name)):
        # A backbone with OpenAI's weights carries its "-quickgelu" twin's name.
        if wanted is not None and got not in (wanted, f"{wanted}-quickgelu"):
            raise FileFormatError(
                f"expected a checkpoint of {what} {wanted!r}, got {got!r}: {path}"
            )
    of_clip = tuple(part for part in random_parts if part != HEAD)
    made = unpack_encoder(tensors, header, path, of_clip)
    on_top = create_head(found, made, sizes)
    on_top.untrained = HEAD in random_parts
    on_top.seen = seen
    fill_part(on_top, part_of(tensors, HEAD), path)
    quantization = None
    if about := header.get(_QUANTIZATION):
        quantization = unpack_quantization(part_of(tensors, _QUANTIZATION), about, path)
    return Parts(made, on_top, Options(**settings), quantization)
