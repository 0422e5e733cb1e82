"""The README, the start page, the quickstarts and the page on int8 run; commands are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from sparse_ovs.cli.app import app

ROOT = Path(__file__).parents[2]
QUICKSTARTS = sorted((ROOT / "docs" / "quickstart").glob("*.md"))
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / page for page in ("index.md", "quantization.md")),
    *QUICKSTARTS,
]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[Any]:
    """The code of every fence of a language, a test parameter each."""
    return [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, code in enumerate(
            [code for kind, code in _FENCE.findall(page.read_text()) if kind == language], 1
        )
    ]


def test_there_is_a_page_for_each_kind_of_user() -> None:
    assert [page.stem for page in QUICKSTARTS] == ["fc-clip", "kernels", "open-clip", "smp", "timm"]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs_as_it_is(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own that has a clone's examples."""
    if "torchao" in code:
        pytest.importorskip("torchao")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(compile(code, "quickstart", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("code", blocks("bash"))
def test_commands_are_there_and_know_their_options(code: str) -> None:
    for line in code.replace("\\\n", " ").splitlines():
        words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words[0] == "sparse-ovs":
            parse_command(words[1:])
        elif words[0] == "make":
            assert make_knows(words[1]), line
        elif words[:3] == ["python", "-m", "pytest"]:
            assert (ROOT / words[3]).exists(), line
        else:
            assert line in (
                "pip install -e .",
                "pip install -e . segmentation_models_pytorch",
                ". .venv/bin/activate",
            )


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="--densty"):
        parse_command(["profile", "RN50", "--densty", "0.1"])


def parse_command(words: list[str]) -> None:
    """Parses a command line by the program's own parser, values too, and runs nothing."""
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words[0]]
        words = words[1:]
    command.make_context(command.name, list(words))


def make_knows(target: str) -> bool:
    """Whether make has a rule for a target; -n runs nothing."""
    made = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
    return made.returncode == 0
