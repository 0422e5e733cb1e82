"""Reads checkpoints of FC-CLIP's published code into the head and its backbone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.weights import fill_model
from sparse_ovs.formats import bare_keys, load_torch_file
from sparse_ovs.heads.fcclip import FCCLIP
from sparse_ovs.text import Vocabulary

_CLIP = "backbone.clip_model."
# The criterion's class weights follow the training set and are no part of the model.
_LEFT_OUT = ("criterion.",)
# Longer prefixes come before those that they begin with.
_PREFIXES = {
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.": "pixel_decoder.transformer.layers.",
    "sem_seg_head.pixel_decoder.": "pixel_decoder.",
    "sem_seg_head.predictor._mask_pooling_proj.": "mask_pooling_proj.",
    "sem_seg_head.predictor.class_embed.": "class_embed.",
    "sem_seg_head.predictor.logit_scale": "classifier.logit_scale",
    "sem_seg_head.predictor.": "decoder.",
    "void_embedding.weight": "classifier.void",
}


def load_fcclip(
    head: FCCLIP,
    backbone: Backbone,
    path: str | os.PathLike[str],
    seen: Iterable[str] = (),
) -> None:
    """Fills a head, and CLIP too where the file has it, from a .pth file.

    Args:
        head: of that backbone and of the file's sizes.
        backbone: a dense one, as `create_backbone` makes it: FC-CLIP's files hold CLIP as it was
            published, or leave it out.
        path: a state_dict, or one under "model".
        seen: the classes that the head was trained on, as `Vocabulary.parse` reads a list of them
            (commas between synonyms): CLIP's own classifier counts less for them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such checkpoint, or one that does not fit the head or the backbone; or seen
            classes without a name.
    """
    classes = list(seen)
    known = Vocabulary.parse(classes).classes if classes else ()
    state = _read(Path(path))
    clip = {key.removeprefix(_CLIP): state.pop(key) for key in list(state) if key.startswith(_CLIP)}
    renamed = {_rename(key, path): key for key in state if not key.startswith(_LEFT_OUT)}
    own = head.state_dict()
    for problem, names in (
        ("without", sorted(set(own) - set(renamed))),
        ("with unknown", sorted(renamed[name] for name in set(renamed) - set(own))),
        (
            "with other shapes of",
            sorted(
                key
                for name, key in renamed.items()
                if name in own and own[name].shape != state[key].shape
            ),
        ),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(
                f"expected a checkpoint that fits the head, got {path} {problem} {names[0]}{more}"
            )
    if clip:
        fill_model(backbone.clip.model, clip, str(path))
        backbone.clip.random_parts = ()
    head.load_state_dict({name: state[key] for name, key in renamed.items()})
    head.untrained = False
    head.seen = tuple(word for synonyms in known for word in synonyms)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint of FC-CLIP, got none at {path}")
    try:
        content = load_torch_file(path)
    except ValueError as error:
        raise ValueError(
            f"expected a checkpoint of FC-CLIP, got a damaged or foreign file: {path}"
        ) from error
    content = content.get("model", content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError(f"expected a state_dict in {path}, got {type(content).__name__}")
    return bare_keys(content)


def _rename(key: str, path: str | os.PathLike[str]) -> str:
    for prefix, own in _PREFIXES.items():
        if key.startswith(prefix):
            return own + key.removeprefix(prefix)
    raise ValueError(f"expected a checkpoint of FC-CLIP, got {path} with unknown {key}")
