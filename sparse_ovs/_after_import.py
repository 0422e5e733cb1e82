"""Imports a module of ours as soon as a package is there: now, or when someone imports it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# What `sparse_ovs.ops` imports, and imports torch itself: while one of them is half there, ops
# cannot follow torch's import. Each ends with `import_what_waits`.
_BELOW_OPS = ("_cuda", "formats", "patterns", "threads", "tuning_file")
_waiting: list[str] = []


def import_after(package: str, module: str) -> None:
    """Imports `module`, which registers something of ours with `package`, without importing the
    package itself: at once where it was imported, else at the end of its import."""
    if sys.modules.get(package) is not None:
        import_module(module)
    else:
        sys.meta_path.insert(0, _After(package, module))


def import_what_waits(ending: str) -> None:
    """The last line of the modules that others could not follow while they were half there.

    Args:
        ending: the module's name.
    """
    if not _half_there(ending):
        while _waiting:
            import_module(_waiting.pop())


def _half_there(except_for: str) -> bool:
    names = {f"sparse_ovs.{name}" for name in _BELOW_OPS} - {except_for}
    modules = (sys.modules.get(name) for name in names)
    return any(getattr(getattr(m, "__spec__", None), "_initializing", False) for m in modules)


class _After(MetaPathFinder):
    """Finds a package as the finders behind this one do, and has the module follow it."""

    def __init__(self, package: str, module: str) -> None:
        self._package = package
        self._module = module

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._package:
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
                _waiting.append(self._module)
                import_what_waits("")

        loader.exec_module = exec_module
