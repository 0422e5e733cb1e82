"""Reads lists of class names from the files that datasets and users have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TypeVar

_Rows = TypeVar("_Rows", tuple, dict, list)


def read_name_list(path: Path, count: int | None = None) -> tuple[str, ...]:
    """One class a line, synonyms separated by ", "; blank lines at the end are passed over.

    Raises:
        ValueError: no such file, a blank line among the names, or not `count` of them.
    """
    lines = [line.strip() for line in _text(path).rstrip().splitlines()]
    if not lines:
        raise ValueError(f"expected names of classes in {path}, got an empty file")
    if "" in lines:
        raise ValueError(
            f"expected a name in every line of {path}, got none in line {lines.index('') + 1}"
        )
    return _of_count(tuple(lines), count, path)


def read_numbered_names(path: Path, count: int | None = None) -> dict[int, str]:
    """Lines `id: name`, as in Pascal Context's `labels.txt`.

    Raises:
        ValueError: no such file, a line of another form, an id twice, or not `count` of them.
    """
    names: dict[int, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        found = re.fullmatch(r"\s*(\d+)\s*:\s*(\S.*?)\s*", line)
        if found is None:
            raise ValueError(f"expected `id: name` in line {number} of {path}, got {line!r}")
        if int(found[1]) in names:
            raise ValueError(f"expected each id once in {path}, got {found[1]} twice")
        names[int(found[1])] = found[2]
    return _of_count(names, count, path)


def read_object_info(path: Path) -> tuple[str, ...]:
    """The 150 names in ADE20K's `objectInfo150.txt`: columns apart by tabs, index first, name last.

    Raises:
        ValueError: no such file, or not the indices 1..150.
    """
    names = {}
    for line in _text(path).splitlines():
        columns = [column.strip() for column in line.split("\t")]
        if columns[0].isdecimal():
            names[int(columns[0])] = re.sub(r"\s*[;,]\s*", ", ", columns[-1])
    if sorted(names) != list(range(1, 151)):
        raise ValueError(f"expected the indices 1 to 150 in {path}, got {len(names)} rows")
    return tuple(names[index] for index in range(1, 151))


def read_id_table(path: Path, count: int) -> list[tuple[int, str | None]]:
    """Raw ids of the classes in their order, with names where the file has them: lines `id` or
    `id: name`, or JSON: a list of objects with `id`, and perhaps `name` and `trainId` (the order).

    Raises:
        ValueError: no such file, another form, an id twice, or not `count` of them.
    """
    text = _text(path)
    rows = _json_rows(text, path) if text.lstrip().startswith("[") else _text_rows(text, path)
    ids = [row[0] for row in rows]
    if len(set(ids)) < len(ids):
        raise ValueError(f"expected each id once in {path}, got {_first_double(ids)} twice")
    return _of_count(rows, count, path)


def _json_rows(text: str, path: Path) -> list[tuple[int, str | None]]:
    try:
        entries = json.loads(text)
        if all("trainId" in entry for entry in entries):
            entries.sort(key=lambda entry: entry["trainId"])
            if [entry["trainId"] for entry in entries] != list(range(len(entries))):
                raise ValueError("trainId is not 0, 1, 2, ...")
        return [(int(entry["id"]), entry.get("name")) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"expected a JSON list of objects with id, name, trainId in {path}, got {error}"
        ) from error


def _text_rows(text: str, path: Path) -> list[tuple[int, str | None]]:
    rows: list[tuple[int, str | None]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = re.fullmatch(r"\s*(\d+)\s*(?::\s*(\S.*?)\s*)?", line)
        if found is None:
            raise ValueError(
                f"expected `id` or `id: name` in line {number} of {path}, got {line!r}"
            )
        rows.append((int(found[1]), found[2]))
    return rows


def _text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"expected a list of names at {path}, got no such file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected text in UTF-8, got {path}: {error}") from error


def _of_count(rows: _Rows, count: int | None, path: Path) -> _Rows:
    if count is not None and len(rows) != count:
        raise ValueError(f"expected {count} classes in {path}, got {len(rows)}")
    return rows


def _first_double(ids: list[int]) -> int:
    return next(raw for raw in ids if ids.count(raw) > 1)
