"""Registers our models with timm as soon as timm is there: now, or when someone imports it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def register_with_timm() -> None:
    """Makes `timm.create_model` know our names, without importing timm."""
    if sys.modules.get("timm") is not None:
        _register()
    else:
        sys.meta_path.insert(0, _AfterTimm())


def _register() -> None:
    import_module("sparse_ovs.backbones.timm_models")


class _AfterTimm(MetaPathFinder):
    """Finds timm as the finders behind this one do, and has it register our models in the end."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "timm":
            return None
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :]
        found = (finder.find_spec(name, path, target) for finder in behind)
        spec = next((spec for spec in found if spec is not None), None)
        # A folder that happens to have the name has no code to run.
        if spec is not None and spec.loader is not None and spec.has_location:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        """Many ask for a spec and never import: it is the loader's exec_module that imports."""

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # its own again
            loader.exec_module(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _register()

        loader.exec_module = exec_module
