"""The results file: one JSON text, whole at every moment, and never too large."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST_TEXT = 4000
LARGEST_FILE = 8_000_000
# That of `sparse_ovs.tuning_file`: such a file is read as a record of tunings.
FORMAT_VERSION = 1


def plain(value: Any) -> Any:
    """The same for JSON: long texts are cut, which they say; what is no finite number is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        half = LONGEST_TEXT // 2
        left = len(value) - 2 * half
        return f"{value[:half]}\n... ({left} characters are left out) ...\n{value[-half:]}"
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def encode(record: dict[str, Any], largest: int = LARGEST_FILE) -> bytes:
    """JSON of at most `largest` bytes: rows are left out from the ends of the longest items, and
    `rows_left_out` in them says how many."""
    record = plain(record)
    text = _dumps(record)
    while len(text) > largest:
        items = [item for step in record["steps"] for item in step["items"].values()]
        longest = max(items, key=lambda item: len(_dumps(item["rows"])), default=None)
        if longest is None or not longest["rows"]:
            record = {**record, "tunings": {}, "notes": ["too large: tunings are left out"]}
            return _dumps(record)
        kept = len(longest["rows"]) // 2
        longest["rows_left_out"] = longest.get("rows_left_out", 0) + len(longest["rows"]) - kept
        del longest["rows"][kept:]
        text = _dumps(record)
    return text


def write(path: Path, record: dict[str, Any]) -> None:
    """Puts the record in the file's place at once: a reader finds the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(encode(record))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read(path: Path) -> dict[str, Any]:
    """A record that `write` wrote.

    Raises:
        ValueError: no such record.
    """
    try:
        record = json.loads(path.read_bytes())
        if record["format_version"] != FORMAT_VERSION or not isinstance(record["steps"], list):
            raise ValueError("another format")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected results of a run in {path}, got {error!r}") from error
    return dict(record)


def rows_of(record: dict[str, Any], wanted: Callable[[dict[str, Any]], bool]) -> list[Any]:
    """All rows that are wanted, in the order in which they were found."""
    return [
        row
        for step in record["steps"]
        for item in step["items"].values()
        for row in item["rows"]
        if wanted(row)
    ]


def _dumps(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, default=str).encode()
