"""Segmenters as one safetensors file: config in its header, sparse weights packed."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import huggingface_hub
from torch import Tensor

from sparse_ovs.backbones import Backbone, PretrainedUnavailable, create_backbone
from sparse_ovs.backbones.weights import check_connection
from sparse_ovs.formats import FileFormatError, read_file, write_file
from sparse_ovs.heads import create_head
from sparse_ovs.nn import packed_state
from sparse_ovs.segmenter.options import Options
from sparse_ovs.segmenter.segmenter import HEAD, Segmenter
from sparse_ovs.segmenter.shipped import shipped
from sparse_ovs.version import __version__

FILE_NAME = "segmenter.safetensors"
_KIND = "segmenter"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def save(segmenter: Segmenter, folder: str | os.PathLike[str]) -> Path:
    """Writes FOLDER/segmenter.safetensors and makes the folder; atomic."""
    backbone = segmenter.backbone
    packed, layers = packed_state.pack_state(backbone)
    tensors = {f"backbone.{name}": value for name, value in packed.items()}
    for part, state in (("clip", _clip_rest(backbone)), ("head", segmenter.head.state_dict())):
        for name, value in state.items():
            tensors[f"{part}.{name}"] = value.detach().cpu().contiguous().clone()
    header = {
        "kind": _KIND,
        "library": __version__,
        "head": segmenter.head.name,
        "head_sizes": asdict(segmenter.head.sizes),
        "seen": segmenter.head.seen,
        "model": backbone.config,
        "layers": layers,
        "options": segmenter.options.to_dict(),
        "random_parts": list(segmenter.random_parts()),
    }
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
    path = Path(source)
    if path.is_dir():
        path = path / FILE_NAME
    if path.is_file():
        return path
    own = shipped(str(source))
    if own is not None:
        return own
    if path.suffix == ".safetensors" or not _REPOSITORY.fullmatch(str(source)):
        raise FileNotFoundError(
            f"expected a segmenter's file, a folder with {FILE_NAME} or a repository "
            f"('user/name'), got {source}"
        )
    repository = str(source)
    cached = huggingface_hub.try_to_load_from_cache(repository, FILE_NAME, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    try:
        check_connection()
        return Path(huggingface_hub.hf_hub_download(repository, FILE_NAME, revision=revision))
    except Exception as error:  # the hub, its transport and the socket each raise their own
        raise PretrainedUnavailable(
            f"segmenter '{repository}' is no path here, and could not be had from the hub: "
            f"{_first_line(error)}"
        ) from error


def load(
    path: Path,
    fast: bool = False,
    head: str | None = None,
    backbone: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Segmenter:
    """Rebuilds a segmenter from its file.

    Args:
        head, backbone: what the file has to be of; None takes what it is.
        options: instead of the file's.

    Raises:
        FileFormatError: a damaged, foreign or newer file, or one of another head or backbone.
    """
    tensors, header = read_file(path)
    if header.get("kind") != _KIND:
        raise FileFormatError(
            f"expected a segmenter's file, got another file of sparse_ovs: {path} (an encoder that "
            "`save` wrote goes into `pretrained`)"
        )
    try:
        parts = {part: _part(tensors, part) for part in ("backbone", "clip", "head")}
        content = packed_state.unpack_state(parts["backbone"], header, path)
        found, config = header["head"], header["model"]
        sizes = header.get("head_sizes", {})  # which older files, of maskclip, lack
        seen = tuple(header.get("seen", ()))  # likewise
        settings = {**header["options"], **(options or {})}
        name, random_parts = str(config["name"]), tuple(header["random_parts"])
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"expected a whole segmenter, got a damaged one: {path}") from error
    for what, wanted, got in (("head", head, found), ("backbone", backbone, name)):
        # A backbone with OpenAI's weights carries its "-quickgelu" twin's name.
        if wanted is not None and got not in (wanted, f"{wanted}-quickgelu"):
            raise FileFormatError(
                f"expected a checkpoint of {what} {wanted!r}, got {got!r}: {path}"
            )
    made = create_backbone(**config)
    packed_state.fill(made, content)
    _fill(made.clip.model, parts["clip"], path, _shared_names(made))
    made.clip.random_parts = tuple(part for part in random_parts if part != HEAD)
    on_top = create_head(found, made, sizes)
    on_top.untrained = HEAD in random_parts
    on_top.seen = seen
    _fill(on_top, parts["head"], path, set())
    return Segmenter(made, on_top, Options(**settings), fast)


def push(segmenter: Segmenter, repository: str, private: bool, token: str | None) -> str:
    """Uploads the segmenter's file; returns the commit's address.

    Raises:
        ConnectionError: the hub cannot be reached, or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = save(segmenter, folder)
        try:
            check_connection()
            api = huggingface_hub.HfApi(token=token)
            api.create_repo(repository, private=private, exist_ok=True)
            done = api.upload_file(
                path_or_fileobj=path,
                path_in_repo=FILE_NAME,
                repo_id=repository,
                commit_message="Upload a sparse_ovs segmenter",
            )
        except Exception as error:  # the hub, its transport and the socket each raise their own
            raise ConnectionError(
                f"segmenter could not be uploaded to '{repository}': {_first_line(error)}"
            ) from error
    return str(done)


def _clip_rest(backbone: Backbone) -> dict[str, Tensor]:
    """CLIP's tensors that are not the trunk's."""
    shared = _shared_names(backbone)
    return {k: v for k, v in backbone.clip.model.state_dict().items() if k not in shared}


def _shared_names(backbone: Backbone) -> set[str]:
    """Names in CLIP's state_dict of the tensors that the trunk has too."""
    own = {id(value) for value in backbone.state_dict(keep_vars=True).values()}
    everything = backbone.clip.model.state_dict(keep_vars=True)
    return {name for name, value in everything.items() if id(value) in own}


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    dot = f"{part}."
    return {k.removeprefix(dot): value for k, value in tensors.items() if k.startswith(dot)}


def _fill(model: Any, state: dict[str, Tensor], path: Path, elsewhere: set[str]) -> None:
    """Loads a part of a new model; `elsewhere` names what comes from another part."""
    own = {name: value for name, value in model.state_dict().items() if name not in elsewhere}
    wrong = set(own) ^ set(state)
    wrong |= {k for k in set(own) & set(state) if own[k].shape != state[k].shape}
    if wrong:
        raise FileFormatError(
            f"expected a file that fits its model, got one that differs in {min(wrong)}: {path}"
        )
    model.load_state_dict(state, strict=False)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
