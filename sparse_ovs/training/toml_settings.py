"""Settings as TOML: read with every mistake told, written with every default and its meaning."""

from __future__ import annotations

import difflib
import json
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

_Settings = TypeVar("_Settings")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        ValueError: no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected TOML in {path}, got {error}") from error


def override(tables: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Tables with settings changed by lines such as `run.steps=100`; the values are TOML, or else
    strings.

    Raises:
        ValueError: a line without "=".
    """
    made = json.loads(json.dumps(tables))
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise ValueError(f"expected a change such as run.steps=100, got {change!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *path, last = (part.strip() for part in name.split("."))
        table = made
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ValueError(f"expected a table at {part!r} of {change!r}, got {table!r}")
        table[last] = value
    return made


def build(kind: type[_Settings], table: Mapping[str, Any], place: str = "") -> _Settings:
    """Settings of a table; what the table does not name has its default.

    Args:
        kind: a dataclass, which may have others as fields.
        table: values by name.
        place: the table's name, for errors.

    Raises:
        ValueError: an unknown name (the nearest known one is told), a value of another type, or one
            out of its range.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in table.items():
        full = f"{place}.{name}" if place else name
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1, cutoff=0.0)
            raise ValueError(
                f"expected settings of {', '.join(hints)}, got {full}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        wanted = hints[name]
        if is_dataclass(wanted):
            if not isinstance(value, dict):
                raise ValueError(f"expected a table [{full}], got {value!r}")
            values[name] = build(typing.cast(type, wanted), value, full)
        else:
            values[name] = _checked(wanted, value, full)
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{error}, in [{place}]" if place else str(error)) from error


def describe(settings: Any) -> str:
    """TOML of settings, complete, each with its meaning; `build` of it gives the same settings."""
    lines, tables = [], []
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            tables.append(f"\n[{each.name}]\n{describe(value)}")
        else:
            entry = f"{each.name} = {_toml(value)}"
            lines.append(f"{entry:<40}  # {each.metadata['meaning']}".rstrip())
    return "\n".join([*lines, *tables])


def _checked(wanted: Any, value: Any, place: str) -> Any:
    """A value of the field's type; whole numbers do for others."""
    if wanted is Any:
        return value
    origin, arguments = typing.get_origin(wanted) or wanted, typing.get_args(wanted)
    if origin is float and type(value) is int:
        return float(value)
    if type(value) is not origin:
        raise ValueError(f"expected {place} of type {origin.__name__}, got {value!r}")
    if origin is list:
        return [_checked(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(value)]
    return value


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{name} = {_toml(item)}" for name, item in value.items())
        return f"{{ {inside} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)  # strings, booleans and integers are alike
