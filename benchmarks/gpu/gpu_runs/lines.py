"""What a child tells its parent: lines of JSON in a file, each whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpu_runs.results import plain


class Teller:
    """The child's side."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def tell(self, kind: str, value: Any) -> None:
        """One line, written at once: a process that dies next has said it."""
        self._file.write(json.dumps({kind: plain(value)}, default=str) + "\n")
        self._file.flush()


class Listener:
    """The parent's side: gives every line once."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def new(self) -> list[tuple[str, Any]]:
        """(kind, value) of the lines that have become whole since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return [next(iter(json.loads(line).items())) for line in whole.splitlines()]
