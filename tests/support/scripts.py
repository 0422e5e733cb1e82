"""How a module of this folder is run as a program, in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

_TESTS = str(Path(__file__).parents[1])


def command(module: ModuleType, *arguments: object) -> list[str]:
    """-P: the package is the one that is installed, not one that lies in the current folder."""
    return [sys.executable, "-P", "-m", module.__name__, *map(str, arguments)]


def environment(**own: object) -> dict[str, str]:
    """This process's, and where the module lies."""
    paths = [_TESTS, *filter(None, [os.environ.get("PYTHONPATH")])]
    given = {name: str(value) for name, value in own.items()}
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | given
