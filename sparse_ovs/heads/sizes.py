"""Sizes of heads: the paper's, small ones, or a mapping of some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """What a head's numbers of layers, channels and queries are; subclasses have the fields."""


@dataclass(frozen=True)
class NoSizes(Sizes):
    """Of a head whose sizes are all CLIP's."""


def choose_sizes(
    presets: Mapping[str, Sizes], chosen: str | Mapping[str, Any] | None, head: str
) -> Sizes:
    """A preset by name, or the paper's sizes with some changed; the paper's where None.

    Raises:
        ValueError: no such preset, or no such field.
    """
    if chosen is None or isinstance(chosen, str):
        name = chosen or "paper"
        if name not in presets:
            raise ValueError(f"expected sizes of {head} of {', '.join(presets)}, got {name!r}")
        return presets[name]
    paper = presets["paper"]
    known = [field.name for field in fields(paper)]
    for name in chosen:
        if name not in known:
            raise ValueError(
                f"expected sizes of {head} among {', '.join(known) or 'none at all'}, got {name!r}"
            )
    return replace(paper, **chosen)
