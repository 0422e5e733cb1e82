"""The parent's side of the line protocol: a contestant's process, asked one thing at a time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any


class ContestantFailed(RuntimeError):
    """The contestant said why it cannot, died, or did not answer in time."""


class WorkerProcess:
    """A running worker (see workers/protocol.py for the commands).

    Args:
        command: argv.
        variables: its whole environment.
        log: file that takes what it prints.

    Raises:
        ContestantFailed: by every method that asks the worker.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                env=dict(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )
        self._pending = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self, job: Mapping[str, Any], timeout: float = 900) -> dict[str, str]:
        """Builds the contestant; returns its facts."""
        return self._ask(f"load {json.dumps(job)}", timeout)

    def warm(self, passes: int, timeout: float = 300) -> float:
        """Milliseconds of the last of these passes."""
        return float(self._ask(f"warm {passes}", timeout))

    def run(self, passes: int, timeout: float = 300) -> float:
        """Median of these passes in milliseconds, after one that does not count."""
        return float(self._ask(f"run {passes}", timeout))

    def outputs(self, path: Path, timeout: float = 120) -> None:
        """Writes the last pass's outputs as .npz."""
        self._ask(f"outputs {path}", timeout)

    def memory(self, timeout: float = 30) -> dict[str, float]:
        """{"peak_mb", "resident_mb"} of the worker."""
        return self._ask("memory", timeout)

    def cpu_seconds(self) -> float:
        """User and system time that the process has used so far; NaN where nobody tells."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends the process; harmless twice."""
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(b"quit\n")
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, command: str, timeout: float) -> Any:
        verb = command.partition(" ")[0]
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
        except OSError:
            raise ContestantFailed(self._how_it_ended(verb)) from None
        status, _, rest = self._read_line(verb, timeout).partition(" ")
        if status == "ok":
            return json.loads(rest)
        raise ContestantFailed(rest or f"{verb}: failed without a reason")

    def _read_line(self, verb: str, timeout: float) -> str:
        assert self._process.stdout is not None
        deadline = monotonic() + timeout
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._process.stdout], [], [], deadline - monotonic())
            if not ready:
                self._process.kill()
                raise ContestantFailed(f"{verb}: no answer in {timeout:.0f} s")
            chunk = os.read(self._process.stdout.fileno(), 65536)
            if not chunk:
                raise ContestantFailed(self._how_it_ended(verb))
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def _how_it_ended(self, verb: str) -> str:
        code = self._process.wait()
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"{verb}: {how}" + (f": {lines[-1].strip()}" if lines else "")
