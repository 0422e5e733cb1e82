"""Builds open_clip models and fills them from tags, open_clip files or OpenAI's archives."""

from __future__ import annotations

import difflib
import logging
import os
import socket
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors.torch
import torch
from torch import Tensor, nn

from sparse_ovs.backbones import tiny_clip
from sparse_ovs.formats import bare_keys, load_torch_file

# Seconds to wait for a connection before weights count as not to be had.
CONNECT_TIMEOUT = 5.0


class PretrainedUnavailable(RuntimeError):
    """Pretrained weights that could not be downloaded."""


# What a file of weights may leave as it was initialised.
IMAGE_ENCODER, IMAGE_PROJECTION, TEXT_TOWER = "image encoder", "image projection", "text tower"


def build_model(
    name: str, pretrained: str | os.PathLike[str] | None
) -> tuple[str, nn.Module, tuple[str, ...]]:
    """An open_clip model in eval mode, its final name, and the parts whose weights are random.

    `pretrained` is None (random weights), a tag that open_clip lists or a tiny CLIP's, or a path
    to a state_dict (safetensors or torch) or to OpenAI's JIT archive. OpenAI's weights need the
    quick GELU: the model becomes its "-quickgelu" twin.

    Raises:
        ValueError: unknown name or tag, or weights that do not fit.
        FileNotFoundError: a path that is no file.
        PretrainedUnavailable: a tag whose weights cannot be downloaded.
    """
    import open_clip

    tiny_clip.register()
    known = open_clip.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"expected the name of an open_clip model, got {name!r}{hint}")
    if own := tiny_clip.tiny_weights(name, pretrained):
        pretrained = own.clip
    if pretrained is None:
        return name, _create(name, None), (IMAGE_ENCODER, IMAGE_PROJECTION, TEXT_TOWER)
    tags = open_clip.list_pretrained_tags_by_model(name)
    quick = f"{name}-quickgelu"
    if str(pretrained) in [*tags, "openai"]:
        if pretrained == "openai" and quick in known:
            name = quick
        return name, _download(name, str(pretrained)), ()
    if not Path(pretrained).is_file():
        if os.sep in str(pretrained) or Path(pretrained).suffix:
            raise FileNotFoundError(f"expected a file of weights, got none at {pretrained}")
        raise ValueError(
            f"expected a path, or a tag of {name} ({_listed(name, tags)}), got {pretrained!r}"
        )
    state, is_openai = read_state_dict(Path(pretrained))
    if is_openai and quick in known:
        name = quick
    model = _create(name, None)
    return name, model, fill_model(model, state, str(pretrained))


def _listed(name: str, tags: list[str]) -> str:
    return ", ".join([*tiny_clip.tags_of(name), *tags]) or "it has none"


def _create(name: str, pretrained: str | None) -> nn.Module:
    import open_clip

    log = logging.getLogger()
    log.addFilter(_asked_for_random_weights)
    try:
        return open_clip.create_model(
            name, pretrained=pretrained, load_weights=pretrained is not None
        ).eval()
    finally:
        log.removeFilter(_asked_for_random_weights)


def _asked_for_random_weights(record: logging.LogRecord) -> bool:
    """Drops open_clip's warning that a model without weights has none: that is what was asked."""
    return not record.getMessage().startswith("No pretrained weights loaded")


def _download(name: str, tag: str) -> nn.Module:
    try:
        if not _is_cached(name, tag):
            check_connection()
        return _create(name, tag)
    except Exception as error:  # open_clip, hub, urllib and socket each raise their own
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PretrainedUnavailable(
            f"weights '{tag}' for {name} could not be had: {first_line}"
        ) from error


def _is_cached(name: str, tag: str) -> bool:
    import open_clip

    source = open_clip.get_pretrained_cfg(name, tag).get("hf_hub", "")
    repository = source.rpartition("/")[0]
    if not repository:
        return False
    files = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    return any(
        isinstance(huggingface_hub.try_to_load_from_cache(repository, file), str) for file in files
    )


def check_connection() -> None:
    """Raises ConnectionError within CONNECT_TIMEOUT where the hub cannot be reached; a download's
    own retries take minutes."""
    proxy = urllib.request.getproxies().get("https")
    place = urllib.parse.urlsplit(proxy or huggingface_hub.constants.ENDPOINT)
    port = place.port or (80 if place.scheme == "http" else 443)
    try:
        socket.create_connection((place.hostname, port), CONNECT_TIMEOUT).close()
    except OSError as error:
        raise ConnectionError(f"no connection to {place.hostname} ({error})") from error


def read_state_dict(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Tensors of a safetensors file, a torch file or a JIT archive, and whether it is OpenAI's
    archive. Names lose the prefixes of DataParallel and torch.compile.

    Raises:
        ValueError: none of these, or damaged.
    """
    try:
        if _is_jit_archive(path):
            state = torch.jit.load(str(path), map_location="cpu").state_dict()
            # Sizes that the archive keeps as buffers.
            for extra in ("input_resolution", "context_length", "vocab_size"):
                state.pop(extra, None)
            return dict(state), True
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = load_torch_file(path)
    except Exception as error:  # safetensors, zipfile, pickle and torch each raise their own
        raise ValueError(
            f"expected a file of weights, got a damaged or foreign one: {path}"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"expected a state_dict in {path}, got {type(content).__name__}")
    return bare_keys(content), False


def _is_jit_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in entry for entry in archive.namelist())


def fill_model(model: nn.Module, state: dict[str, Tensor], source: str) -> tuple[str, ...]:
    """Loads a whole model's weights, or those of its image tower, with or without the "visual."
    prefix; returns the parts that stay as they were.

    Raises:
        ValueError: weights are missing, left over, or of other shapes.
    """
    own = model.state_dict()
    if not any(key.startswith("visual.") for key in state):
        state = {f"visual.{key}": value for key, value in state.items()}
    expected = set(own)
    left: tuple[str, ...] = ()
    if all(key.startswith("visual.") for key in state):
        expected = {key for key in own if key.startswith("visual.")}
        left = (TEXT_TOWER,)
        pool = "visual.attnpool."
        if not any(key.startswith(pool) for key in state):
            if any(key.startswith(pool) for key in expected):
                left = (IMAGE_PROJECTION, TEXT_TOWER)
            expected = {key for key in expected if not key.startswith(pool)}
    optional = {key for key in own if key.endswith((".attn_mask", "num_batches_tracked"))}
    missing = sorted(expected - optional - set(state))
    extra = sorted(set(state) - set(own) - {"attn_mask"})
    wrong = sorted(k for k in expected & set(state) if own[k].shape != state[k].shape)
    for problem, names in (
        ("without", missing),
        ("with unknown", extra),
        ("with other shapes of", wrong),
    ):
        if names:
            raise ValueError(
                f"expected weights that fit the model, got {source} {problem} {names[0]}"
                + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            )
    model.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in state.items() if k in own},
        strict=False,
    )
    return left
