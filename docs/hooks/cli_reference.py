"""Writes the command line's reference into docs/cli.md while the website is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from sparse_ovs.cli.app import app
from sparse_ovs.cli.later import LaterCommand

MARKER = "<!-- commands -->"


def commands(command: Any, parent: Any = None, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Walks a command tree: (full name, command, its context) of each that can be run."""
    if isinstance(command, LaterCommand):
        command = command.load()
    context = command.context_class(command, info_name=name or command.name, parent=parent)
    children = getattr(command, "commands", None)
    if children is None:
        yield context.command_path, command, context
        return
    for child_name in children:
        yield from commands(children[child_name], context, child_name)


def render(command: Any, path: str, context: Any) -> str:
    """One command as Markdown: what it does, how it is called, tables of its parameters."""
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"## {path}", (command.help or "").strip(), f"```text\n{usage}\n```"]
    for kind, title in (("argument", "Argument"), ("option", "Option")):
        rows = [
            parameter.get_help_record(context)
            for parameter in command.params
            if parameter.param_type_name == kind and not parameter.hidden
        ]
        if rows:
            lines = [f"| {title} | |", "| --- | --- |"]
            lines += [f"| `{name}` | {_cell(text)} |" for name, text in rows]
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def reference() -> str:
    """All commands of `sparse-ovs` as Markdown."""
    return "\n\n".join(
        render(command, path, context)
        for path, command, context in commands(get_command(app), name="sparse-ovs")
    )


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return markdown.replace(MARKER, reference()) if page.file.src_uri == "cli.md" else markdown


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
