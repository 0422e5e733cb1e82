"""The things that emoji scenes show, and what is done with each of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

SEEN, UNSEEN, CLIP = "seen", "unseen", "clip"


@dataclass(frozen=True)
class Concept:
    """A thing with a name.

    Attributes:
        codes: hexadecimal code points of the emoji that show it, such as "1f431".
        role: "seen": heads are trained on it; "unseen": heads are asked for it, and only CLIP's
            captions name it in training; "clip": only CLIP ever meets it.
    """

    name: str
    codes: tuple[str, ...]
    role: str


def _read() -> tuple[Concept, ...]:
    table = tomllib.loads((Path(__file__).parent / "concepts.toml").read_text())
    return tuple(
        Concept(name, tuple(code.lower() for code in codes), role)
        for role in (SEEN, UNSEEN, CLIP)
        for name, codes in table[role].items()
    )


CONCEPTS = _read()
"""All 200: 80 seen, 20 unseen, 100 of CLIP's alone, in this order."""
