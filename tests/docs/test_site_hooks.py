"""What the website's hooks make of pages."""

from __future__ import annotations

import pytest
from typer.main import get_command

from cli_reference import commands, reference
from outside_links import rewrite
from sparse_ovs.cli.app import app

COMMANDS = list(commands(get_command(app), name="sparse-ovs"))


@pytest.mark.parametrize("index", range(len(COMMANDS)), ids=[path for path, _, _ in COMMANDS])
def test_the_reference_has_each_command_with_all_its_options(index: int) -> None:
    path, command, _ = COMMANDS[index]
    section = reference().split(f"## {path}\n")[1].split("\n## ")[0]
    for parameter in command.params:
        for option in parameter.opts:
            assert f"{option}" in section


def test_commands_of_groups_are_found() -> None:
    assert "sparse-ovs data check" in [path for path, _, _ in COMMANDS]


def test_cells_hold_no_bar_that_would_end_them() -> None:
    assert "--size S\\|HxW" in reference()


@pytest.mark.parametrize(
    ("markdown", "page", "plain"),
    [
        ("see [a/b.md](../a/b.md)", "x.md", "see `a/b.md`"),
        ("see [a program](../c/run.c)", "x.md", "see a program (`c/run.c`)"),
        ("see [a program](../../c/run.c)", "deep/x.md", "see a program (`c/run.c`)"),
        ("see [pruning](../pruning.md#x)", "deep/x.md", "see [pruning](../pruning.md#x)"),
        ("see [heads](heads.md)", "x.md", "see [heads](heads.md)"),
        ("![picture](../c/run.png)", "x.md", "![picture](../c/run.png)"),
    ],
)
def test_links_out_of_the_pages_become_text(markdown: str, page: str, plain: str) -> None:
    assert rewrite(markdown, page, None) == plain


def test_links_out_of_the_pages_go_to_the_repository_where_its_address_is_known() -> None:
    made = rewrite("see [x](../a.md#part)", "x.md", "https://host/r/blob/main")
    assert made == "see [x](https://host/r/blob/main/a.md#part)"
