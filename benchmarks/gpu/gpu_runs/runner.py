"""Runs the steps one after another within the time that there is, and writes after each line."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from gpu_runs import results
from gpu_runs.child_process import ChildProcess
from gpu_runs.step import Step

_LISTEN_S = 0.5
# A part of a step's time that one item may take: one that hangs leaves some to the others.
_ITEM_SHARE = 0.75


def child_command(step: Step, lines: Path, record: Path, items: Sequence[str]) -> list[str]:
    """A Python that runs items of a step."""
    return [sys.executable, "-m", "gpu_runs.child", step.module, str(lines), str(record), *items]


@dataclass
class Runner:
    """Runs steps into one file.

    Args:
        out: folder of everything that is written; `results.json` is the record.
        minutes: for all steps.
        environment: of the children.
        command: see `child_command`.
        say: called with a line of text when something happens.
        clock: seconds.
        tunings: file of the tuner whose entries join the record.
    """

    out: Path
    minutes: float
    environment: Mapping[str, str]
    command: Callable[[Step, Path, Path, Sequence[str]], list[str]] = child_command
    say: Callable[[str], None] = print
    clock: Callable[[], float] = monotonic
    tunings: Path | None = None
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The record."""
        return self.out / "results.json"

    def run(self, steps: Sequence[Step], about: Mapping[str, Any]) -> dict[str, Any]:
        """Every step in turn; what cannot run or does not fit is an entry with its reason."""
        self.record = {
            "format_version": results.FORMAT_VERSION,
            "what": "sparse_ovs on a GPU",
            "minutes": self.minutes,
            **about,
            "plan": [
                {"step": s.name, "estimate_s": s.estimate_s, "items": len(s.items)} for s in steps
            ],
            "steps": [_entry(step) for step in steps],
            "tunings": {},
        }
        self._write()
        start, until = self.clock(), 0.0
        for step, entry in zip(steps, self.record["steps"], strict=True):
            until += step.share * 60 * self.minutes
            self._run_step(step, entry, start + until)
        self.record["finished"] = True
        self._write()
        return self.record

    def _run_step(self, step: Step, entry: dict[str, Any], until: float) -> None:
        left = until - self.clock()
        if left < step.least_s:
            entry["status"] = "skipped"
            entry["reason"] = (
                f"its first item needs about {step.least_s:.0f} s, {left:.0f} s are left"
            )
            self.say(f"{step.name}: skipped: {entry['reason']}")
            self._write()
            return
        entry["status"] = "running"
        self.say(f"{step.name}: {step.asks} (at most {left:.0f} s)")
        began, waiting = self.clock(), list(step.items)
        while waiting and until > self.clock():
            self._run_child(step, entry, waiting, until)
        for name in waiting:
            entry["items"][name].update(status="skipped", reason="no time was left")
        entry["seconds"] = round(self.clock() - began, 1)
        states = [item["status"] for item in entry["items"].values()]
        entry["status"] = "done" if set(states) == {"done"} else "incomplete"
        counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
        self.say(f"{step.name}: {counts} in {entry['seconds']} s")
        self._write()

    def _run_child(
        self, step: Step, entry: dict[str, Any], waiting: list[str], until: float
    ) -> None:
        """One process for what waits; takes off what it finished, and the item it ended in."""
        lines = self.out / f"{step.name}.lines"
        child = ChildProcess(
            self.command(step, lines, self.file, waiting),
            self.environment,
            lines,
            self.out / f"{step.name}.log",
        )
        patience = _ITEM_SHARE * (until - self.clock())
        current, since = "", self.clock()
        begun, reason = False, ""
        try:
            while True:
                running = child.running
                told = child.listen(_LISTEN_S if running else 0)
                for kind, value in told:
                    if kind == "begin":
                        current, since, begun = value, self.clock(), True
                    current = self._take(entry, waiting, current, kind, value)
                if told:
                    self._write()
                now = self.clock()
                if not running:
                    break
                if now > until or (current and now - since > patience):
                    reason = f"no end after {now - since:.0f} s"
                    child.end()
                    break
        finally:
            child.end()
        if current:
            item = entry["items"][current]
            item.update(status="failed", reason=reason or child.how_it_ended())
            waiting.remove(current)
        elif not begun:
            # Another would end in the same way.
            why = reason or child.how_it_ended()
            for name in waiting:
                entry["items"][name].update(status="failed", reason=f"not begun: {why}")
            waiting.clear()

    def _take(
        self, entry: dict[str, Any], waiting: list[str], current: str, kind: str, value: Any
    ) -> str:
        """Enters one line; gives the item that runs now."""
        if kind == "note":
            if value not in entry.setdefault("notes", []):
                entry["notes"].append(value)
        elif kind == "row":
            entry["items"][current]["rows"].append(value)
        elif kind == "begin":
            entry["items"][value]["status"] = "running"
        elif current:
            entry["items"][current]["status"] = kind
            if kind == "failed":
                entry["items"][current]["reason"] = value
            waiting.remove(current)
            return ""
        return current

    def _write(self) -> None:
        if self.tunings is not None:
            # None yet, or just being replaced: what was read before stays.
            with contextlib.suppress(OSError, ValueError, KeyError):
                self.record["tunings"] = json.loads(self.tunings.read_bytes())["tunings"]
        results.write(self.file, self.record)


def _entry(step: Step) -> dict[str, Any]:
    items = {name: {"status": "waiting", "rows": []} for name in step.items}
    return {"step": step.name, "asks": step.asks, "status": "waiting", "items": items}
