"""Commands are listed without their modules, and are themselves when they are called."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command

from sparse_ovs.cli.app import COMMANDS, app

_LIST = """
import sys
from sparse_ovs.cli import main
sys.argv = ["sparse-ovs", "--help"]
try:
    main()
finally:
    print([name for name in sys.modules if name.startswith("sparse_ovs.cli.")])
    print([name for name in ("open_clip", "timm", "torch._dynamo") if name in sys.modules])
"""


def test_the_list_of_commands_imports_none_of_them() -> None:
    command = [sys.executable, "-P", "-c", _LIST]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ours, slow = done.stdout.splitlines()[-2:]
    assert ours == "['sparse_ovs.cli.later', 'sparse_ovs.cli.app']"
    assert slow == "[]"
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_is_listed_with_the_first_words_of_its_help(name: str) -> None:
    group: Any = get_command(app)
    itself = group.commands[name].load()
    assert " ".join(itself.help.split("\n\n")[0].split()) == COMMANDS[name]
    assert itself.name == name
