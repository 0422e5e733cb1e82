"""The rooms of csrc/cpu: what each of them is built on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CPU = ROOT / "csrc" / "cpu"

# A file includes files of its own room and of those before it.
ROOMS = (
    "base",
    "maps",
    "weights",
    "kernels",
    "steps",
    "conv",
    "plan",
    "program",
    "training",
    "vision",
    "api",
)

if not CPU.is_dir():
    pytest.skip("needs the C++ sources", allow_module_level=True)


def included(path: Path) -> list[str]:
    """What a file includes in quotes, by room and name."""
    return re.findall(r'^\s*#\s*include "([^"]+)"', path.read_text(), flags=re.MULTILINE)


def files_of(room: str) -> list[Path]:
    return [path for path in sorted((CPU / room).rglob("*")) if path.is_file()]


def test_every_file_lies_in_a_room() -> None:
    assert sorted(path.name for path in CPU.iterdir()) == sorted(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_includes_one_of_a_later_room(room: str) -> None:
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for path in files_of(room):
        names = [name for name in included(path) if name != "sparse_ovs.h"]
        strangers = [name for name in names if name.split("/")[0] not in allowed]
        assert strangers == [], path


@pytest.mark.parametrize("room", ROOMS[:-1])
def test_only_the_api_knows_the_c_header(room: str) -> None:
    assert [path for path in files_of(room) if "sparse_ovs.h" in included(path)] == []


def test_the_rooms_are_listed_in_contributing_in_their_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert tuple(re.findall(r"^- `(\w+)/`: ", text, flags=re.MULTILINE)) == ROOMS
