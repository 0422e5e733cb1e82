"""The list of long files names files that exist."""

from __future__ import annotations

from support.long_files import long_files


def test_every_long_file_exists() -> None:
    missing = [str(file) for file in sorted(long_files()) if not file.is_file()]
    assert missing == []
