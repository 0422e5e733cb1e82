"""The encoder's part of a predictor's file: the trunk, sparse weights packed; CLIP's rest."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from torch import Tensor

from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.formats import FileFormatError
from sparse_ovs.nn import packed_state

_TRUNK, _CLIP = "backbone", "clip"


def pack_encoder(backbone: Backbone) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Its tensors, and what goes into the header."""
    packed, layers = packed_state.pack_state(backbone)
    shared = _shared_names(backbone)
    rest = {k: v for k, v in backbone.clip.model.state_dict().items() if k not in shared}
    tensors = {f"{_TRUNK}.{name}": value for name, value in packed.items()}
    return tensors | pack_part(_CLIP, rest), {"model": backbone.config, "layers": layers}


def unpack_encoder(
    tensors: Mapping[str, Tensor],
    header: dict[str, Any],
    path: Path,
    random_parts: tuple[str, ...],
) -> Backbone:
    """Rebuilds it from a whole file's tensors and header.

    Args:
        random_parts: of CLIP (see ClipParts).

    Raises:
        FileFormatError: a damaged file, or one that does not fit its own model.
    """
    content = packed_state.unpack_state(part_of(tensors, _TRUNK), header, path)
    made = create_backbone(**header["model"])
    packed_state.fill(made, content)
    fill_part(made.clip.model, part_of(tensors, _CLIP), path, _shared_names(made))
    made.clip.random_parts = random_parts
    return made


def pack_part(part: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict as a part of a file."""
    return {f"{part}.{name}": v.detach().cpu().contiguous().clone() for name, v in state.items()}


def part_of(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The state_dict that is a part of a file."""
    dot = f"{part}."
    return {k.removeprefix(dot): value for k, value in tensors.items() if k.startswith(dot)}


def fill_part(
    model: Any, state: dict[str, Tensor], path: Path, elsewhere: Set[str] = frozenset()
) -> None:
    """Loads a part of a new model; `elsewhere` names what comes from another part.

    Raises:
        FileFormatError: tensors of other names or shapes.
    """
    own = {name: value for name, value in model.state_dict().items() if name not in elsewhere}
    wrong = set(own) ^ set(state)
    wrong |= {k for k in set(own) & set(state) if own[k].shape != state[k].shape}
    if wrong:
        raise FileFormatError(
            f"expected a file that fits its model, got one that differs in {min(wrong)}: {path}"
        )
    model.load_state_dict(state, strict=False)


def _shared_names(backbone: Backbone) -> set[str]:
    """Names in CLIP's state_dict of the tensors that the trunk has too."""
    own = {id(value) for value in backbone.state_dict(keep_vars=True).values()}
    everything = backbone.clip.model.state_dict(keep_vars=True)
    return {name for name, value in everything.items() if id(value) in own}
