"""An empty open_clip where it is not installed: sparse_ovs imports names of it that kernels and
encoders of timm never need."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Empty(ModuleType):
    """A package that has every public name: classes of their own, and constants that are empty."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = () if name.isupper() else type(name, (), {})
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "open_clip":
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def stand_in_for_open_clip() -> bool:
    """Makes `import open_clip` work where it would not; whether it had to."""
    if find_spec("open_clip") is not None:
        return False
    sys.meta_path.append(_Finder())
    return True


def open_clip_is_there() -> bool:
    """Whether the real one is."""
    spec = find_spec("open_clip")
    return spec is not None and not isinstance(spec.loader, _Finder)
