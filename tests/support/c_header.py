"""The C header of sparse_ovs, taken apart: what it declares, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HEADER = Path(__file__).parents[2] / "csrc" / "include" / "sparse_ovs.h"


@dataclass(frozen=True)
class Named:
    """A member of a struct or an argument of a function; its type as in "const float*"."""

    type: str
    name: str


@dataclass(frozen=True)
class Function:
    result: str
    arguments: list[Named]


@dataclass(frozen=True)
class Header:
    """
    Attributes:
        abi_version: of the struct layouts and signatures.
        enums: numbers by name, by the name of the enum.
        structs: their members in order.
        functions: what they take and give.
        callbacks: names of types of functions.
    """

    abi_version: int
    enums: dict[str, dict[str, int]]
    structs: dict[str, list[Named]]
    functions: dict[str, Function]
    callbacks: set[str]


def read_header(text: str) -> Header:
    """What a header says that is written as ours is: typedefs of structs and enums, SOVS_API before
    functions."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    version = re.search(r"#define SOVS_ABI_VERSION (\d+)", text)
    assert version
    text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    enums = re.findall(r"typedef enum \{(.*?)\}\s*(\w+);", text, flags=re.DOTALL)
    structs = re.findall(r"typedef struct \{(.*?)\}\s*(\w+);", text, flags=re.DOTALL)
    functions = re.findall(r"SOVS_API\s+([^;(]*?)(\w+)\(([^;]*)\);", text)
    return Header(
        int(version[1]),
        {name: _numbers(body) for body, name in enums},
        {name: _members(body) for body, name in structs},
        {name: Function(_plain(result), _arguments(args)) for result, name, args in functions},
        set(re.findall(r"typedef \w+ \(\*(\w+)\)\(", text)),
    )


def _numbers(body: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r"(\w+) = (\d+)", body)}


def _members(body: str) -> list[Named]:
    found = []
    for declaration in body.split(";")[:-1]:
        first, *others = declaration.split(",")
        member = _named(first)
        found += [member, *(Named(member.type, _plain(name)) for name in others)]
    return found


def _arguments(text: str) -> list[Named]:
    return [] if text.strip() == "void" else [_named(argument) for argument in text.split(",")]


def _named(declaration: str) -> Named:
    found = re.fullmatch(r"(.*?)(\w+)", _plain(declaration))
    assert found, declaration
    return Named(_plain(found[1]), found[2])


def _plain(text: str) -> str:
    return " ".join(text.split())
