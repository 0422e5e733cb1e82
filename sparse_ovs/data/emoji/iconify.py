"""A set of pictures in Iconify's format: SVG bodies by name in one JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparse_ovs.data.emoji.names import code_of
from sparse_ovs.data.emoji.packages import Package, read_json


class IconSet:
    """The pictures of one package.

    Raises:
        MissingPackages: it is not in the cache.
    """

    def __init__(self, package: Package) -> None:
        self._icons: dict[str, Any] = read_json(package, "icons.json")
        by_code = read_json(package, "chars.json")
        self._by_code = {code_of(code): name for code, name in by_code.items()}

    def name_of(self, code: str) -> str | None:
        """What the set itself calls a code point; None where it keeps no list or lacks it."""
        return self._by_code.get(code)

    def find(self, code: str, slugs: Sequence[str]) -> str | None:
        """The picture of a code point: by the set's own list where it has one, else the first of
        the names that it knows, written with or without hyphens."""
        if self._by_code:
            name = self._by_code.get(code)
            return None if name is None else self._drawn(name)
        spelled = (name for slug in slugs for name in (slug, slug.replace("-", "")))
        return next((drawn for name in spelled if (drawn := self._drawn(name))), None)

    def svg(self, name: str) -> str:
        """A picture as a whole SVG document."""
        icon = self._icons["icons"][name]
        left, top, width, height = (
            icon.get(key, self._icons.get(key, otherwise))
            for key, otherwise in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
        )
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">'
            f"{icon['body']}</svg>"
        )

    def _drawn(self, name: str) -> str | None:
        """The name of the picture that a name stands for; turned or mirrored ones do not count."""
        while name not in self._icons["icons"]:
            alias = self._icons.get("aliases", {}).get(name)
            if alias is None or len(alias) > 1:
                return None
            name = alias["parent"]
        return name
