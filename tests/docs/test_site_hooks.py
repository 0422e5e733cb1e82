"""What the website's hooks make of pages."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from typer.main import get_command

from api_pages import expand, identifiers
from cli_reference import commands, reference
from outside_links import rewrite
from sparse_ovs.cli.app import app

API_PAGES = sorted((Path(__file__).parents[2] / "docs" / "api").glob("*.md"))
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


@pytest.mark.parametrize("page", API_PAGES, ids=[page.stem for page in API_PAGES])
def test_each_public_name_has_a_directive_that_leads_to_it(page: Path) -> None:
    package = "sparse_ovs" if page.stem == "index" else f"sparse_ovs.{page.stem}"
    module = importlib.import_module(package)
    paths = re.findall("^::: (.*)$", expand(page.read_text()), re.MULTILINE)
    found = {path.rpartition(".")[2]: path for path in paths}
    assert set(module.__all__) - set(found) <= {"timm_models", "__version__"}
    for name, path in found.items():
        place, _, _ = path.rpartition(".")
        assert getattr(importlib.import_module(place), name) is getattr(module, name)


def test_a_name_that_a_module_has_too_is_taken_from_where_it_is_defined() -> None:
    assert "sparse_ovs.nn.sparsify.sparsify" in identifiers("sparse_ovs.nn")
    assert "sparse_ovs.nn.sparsify.sparsify" in identifiers("sparse_ovs")
    assert "sparse_ovs.densify" in identifiers("sparse_ovs")


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
