"""The parent's side of a child: starts it, listens to it, and ends it with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_runs.lines import Listener


class ChildProcess:
    """A running child in a process group of its own.

    Args:
        command: argv; it writes lines for `Listener` into `lines`.
        environment: of it.
        lines, log: files for what it tells, and for what it prints.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], lines: Path, log: Path
    ) -> None:
        self._log = log
        lines.unlink(missing_ok=True)
        self._listener = Listener(lines)
        with log.open("wb") as output:
            # A group, but no session: what ends the session ends the child.
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                cwd=log.parent,
            )

    def listen(self, seconds: float) -> list[tuple[str, Any]]:
        """Waits so long, or until it has ended; gives what it told since."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._listener.new()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Kills the group; harmless twice."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def how_it_ended(self) -> str:
        """In words, with the end of what it printed."""
        code = self._process.wait()
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
        printed = self._log.read_text(errors="replace").strip()[-1500:]
        return f"{how}: {printed}" if printed else how
