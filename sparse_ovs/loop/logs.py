"""The run's log as CSV: one row a logged step, without duplicates or gaps after a resume."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path


class CsvLog:
    """Appends rows to a CSV file.

    A row holds nothing that depends on the clock, so a resumed run writes the same bytes as an
    uninterrupted one.

    Args:
        path: its folder must exist.
        length: bytes to keep of what is there, as `sync` returned; the rest is cut off.
    """

    def __init__(self, path: str | os.PathLike[str], length: int = 0) -> None:
        self._path = Path(path)
        self._file = self._path.open("a+b")
        there = self._file.seek(0, io.SEEK_END)
        if there < length:
            warnings.warn(
                f"expected {length} bytes or more in {path}, got {there}: rows are missing",
                stacklevel=2,
            )
            length = there
        self._file.truncate(length)
        self._file.seek(0)
        self._columns = next(csv.reader([self._file.readline().decode()]), [])

    def write(self, row: Mapping[str, int | float]) -> None:
        """Adds a row; the first one names the columns.

        Raises:
            ValueError: other columns than the first row's.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._columns:
            self._columns = list(row)
            writer.writerow(self._columns)
        if set(row) != set(self._columns):
            raise ValueError(
                f"expected the columns {self._columns} of {self._path}, got {list(row)}"
            )
        writer.writerow([repr(row[column]) for column in self._columns])
        self._file.write(text.getvalue().encode())
        self._file.flush()

    def sync(self) -> int:
        """Length of the file in bytes, once these are on the disk."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, io.SEEK_END)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
