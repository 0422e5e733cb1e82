"""Commands whose modules are imported when they are called, not when they are listed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_group

# In the command's module; elsewhere it has the command's name.
_FUNCTIONS = {"eval": "evaluate_command"}


class LaterCommand(TyperCommand):
    """Knows its name and its help's first paragraph; all else is asked of the command itself."""

    def load(self) -> Any:
        """The command itself, or the group, from the module of its name."""
        name = str(self.name)
        module = import_module(f"sparse_ovs.cli.{name}")
        found = getattr(module, _FUNCTIONS.get(name, name))
        around = typer.Typer(rich_markup_mode=self.rich_markup_mode, pretty_exceptions_enable=False)
        if isinstance(found, typer.Typer):
            around.add_typer(found, name=name)
        else:
            around.command(name)(found)
        return get_group(around).commands[name]

    def make_context(self, *args: Any, **options: Any) -> Any:
        return self.load().make_context(*args, **options)


def add_later(app: typer.Typer, name: str, summary: str) -> None:
    """Adds the command of `sparse_ovs.cli.NAME`, a function or a group's Typer.

    Args:
        summary: the first paragraph of its help.
    """
    app.command(name, cls=LaterCommand, help=summary)(_nothing)


def _nothing() -> None:
    """What typer wants a command for, and nobody calls."""
