"""Who drew the emoji, and under which licence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Vendor:
    """One set of pictures.

    Attributes:
        package: npm's name of it.
        licence: SPDX, as the package's info.json states it.
    """

    name: str
    package: str
    author: str
    licence: str

    @property
    def ships(self) -> bool:
        """Whether pictures and weights made with it may ship: not where a work must share alike."""
        return "-SA-" not in self.licence


VENDORS = (
    Vendor("noto", "@iconify-json/noto", "Google Inc", "Apache-2.0"),
    Vendor("noto-v1", "@iconify-json/noto-v1", "Google Inc", "Apache-2.0"),
    Vendor("twemoji", "@iconify-json/twemoji", "Twitter", "CC-BY-4.0"),
    Vendor("openmoji", "@iconify-json/openmoji", "OpenMoji", "CC-BY-SA-4.0"),
    Vendor("fluent-emoji", "@iconify-json/fluent-emoji", "Microsoft Corporation", "MIT"),
    Vendor("fluent-emoji-flat", "@iconify-json/fluent-emoji-flat", "Microsoft Corporation", "MIT"),
    Vendor("fxemoji", "@iconify-json/fxemoji", "Mozilla", "Apache-2.0"),
    Vendor("emojione", "@iconify-json/emojione", "Emoji One", "CC-BY-4.0"),
    Vendor("emojione-v1", "@iconify-json/emojione-v1", "Emoji One", "CC-BY-SA-4.0"),
)
