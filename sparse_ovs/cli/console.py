"""Where the commands print: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

out = Console()
err = Console(stderr=True)


@contextmanager
def progress(first: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr with a line of text that the caller changes; plain lines where nobody
    watches are left out."""
    with err.status(first) as status:
        yield status.update


def wide(console: Console) -> Console:
    """A console that does not cut tables off where its output goes to a file or a pipe."""
    return console if console.is_terminal else Console(file=console.file, width=160)
