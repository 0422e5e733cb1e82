"""What an emoji is called: names in every vendor's spelling, and keywords."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sparse_ovs.data.emoji.packages import package, read_json

_VARIATION = "-fe0f"  # asks for a picture instead of text; sets leave it out or not as they like


@dataclass(frozen=True)
class Named:
    """What the lists say of one emoji.

    Attributes:
        slugs: its names as files are called by them, best first.
        keywords: single words or short phrases, lower case.
    """

    slugs: tuple[str, ...]
    keywords: tuple[str, ...]


@cache
def emoji_names() -> Mapping[str, Named]:
    """By code point, as `code_of` writes it: of emojibase's and unicode-emoji-json's lists.

    Raises:
        MissingPackages: the lists are not in the cache.
    """
    second = read_json(package("unicode-emoji-json"), "data-by-emoji.json")
    found = {}
    for entry in read_json(package("emojibase-data"), "en/data.json"):
        labels = [entry["label"]]
        if entry["emoji"] in second:
            labels.append(second[entry["emoji"]]["name"])
        slugs = tuple(dict.fromkeys(slug(label) for label in labels))
        found[code_of(entry["hexcode"])] = Named(slugs, tuple(entry.get("tags", ())))
    return found


def code_of(hexcode: str) -> str:
    """Code points joined by "-", lower case, without the variation selector."""
    return hexcode.lower().replace(_VARIATION, "")


def slug(label: str) -> str:
    """A name as sets write it: lower case without accents and quotes, words joined by "-"."""
    plain = unicodedata.normalize("NFKD", label.lower()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")
