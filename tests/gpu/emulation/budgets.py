"""Figures of kernels that must not get worse: kept in a JSON file under version control."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Set to 1, tests write what they find into the file instead of checking it.
UPDATE = "SPARSE_OVS_UPDATE_BUDGETS"

_HOW = f"accept it with {UPDATE}=1 python -m pytest <the test>"


class OverBudget(AssertionError):
    """A kernel's figure is worse than the committed one."""


class Budgets:
    """A file of budgets: `{kernel variant: {"figures": {...}, "instructions": [...]}}`.

    Figures are better when they are lower. Several processes may update a file at once.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def check(
        self, variant: str, figures: Mapping[str, float], instructions: Iterable[str] = ()
    ) -> None:
        """Compares a variant with its budget.

        Args:
            variant: for example `bsr_linear fp16 64x64 sm_80`.
            figures: registers, shared bytes, sectors a load, ...
            instructions: which the machine code has: those of the budget must be there still.

        Raises:
            OverBudget: where a figure is higher than its budget, or an instruction is gone, or
                the variant has no budget yet.
        """
        found = {
            "figures": {name: round(value, 3) for name, value in sorted(figures.items())},
            "instructions": sorted(instructions),
        }
        if updating():
            self._write(variant, found)
            return
        budgets = self._read()
        if variant not in budgets:
            raise OverBudget(f"{variant} has no budget; {_HOW}")
        complaints = list(_complaints(budgets[variant], found))
        if complaints:
            raise OverBudget(f"{variant}: {'; '.join(complaints)}; {_HOW}")

    def _read(self) -> dict[str, Any]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def _write(self, variant: str, found: Mapping[str, Any]) -> None:
        with locked(self._file):
            budgets = self._read() | {variant: found}
            # A line for each variant, so that differences read well.
            lines = (
                f" {json.dumps(name)}: {json.dumps(budgets[name])}" for name in sorted(budgets)
            )
            replaced(self._file, "{\n" + ",\n".join(lines) + "\n}\n")


def updating() -> bool:
    """Whether tests write what they find instead of checking it."""
    return os.environ.get(UPDATE) == "1"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Within it, no other process that asks the same changes the file."""
    with open(Path(tempfile.gettempdir(), f"{file.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replaced(file: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, file)


def _complaints(budget: Mapping[str, Any], found: Mapping[str, Any]) -> Iterable[str]:
    for name, limit in budget["figures"].items():
        if name not in found["figures"]:
            yield f"{name} is no longer reported"
        elif found["figures"][name] > limit:
            yield f"expected {name} of at most {limit}, got {found['figures'][name]}"
    for name in sorted(found["figures"].keys() - budget["figures"].keys()):
        yield f"{name} has no budget"
    for instruction in budget["instructions"]:
        if instruction not in found["instructions"]:
            yield f"expected {instruction} in the machine code, got none"
