"""How pictures are resized and cut for an encoder, and words are put into prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sparse_ovs.text import find_templates


class InputOptions(Protocol):
    """What a predictor reads of the options of its kind.

    Attributes:
        templates: of prompts (see `sparse_ovs.text.find_templates`).
        size: pixels of the shorter side that the encoder sees; None leaves pictures as they are.
        longest: pixels of the longer side at most; used with `size` alone.
        window: side of the windows that larger pictures are cut into; None for no windows.
        overlap: fraction of a window that it shares with its neighbour.
    """

    @property
    def templates(self) -> str | Sequence[str]: ...
    @property
    def size(self) -> int | None: ...
    @property
    def longest(self) -> int: ...
    @property
    def window(self) -> int | None: ...
    @property
    def overlap(self) -> float: ...


def check_input_options(options: InputOptions) -> None:
    """Raises ValueError for a setting out of its range."""
    find_templates(options.templates)
    for name in ("size", "longest", "window"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"expected a {name} of at least 1 pixel, got {value}")
    if not 0 <= options.overlap < 1:
        raise ValueError(f"expected an overlap with 0 <= overlap < 1, got {options.overlap}")
