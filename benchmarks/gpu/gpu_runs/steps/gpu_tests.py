"""`pytest -m gpu`, a slice at a time, in as many processes as compile beside each other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gpu_runs.place import Place

ROOT = Path(__file__).parents[4]
_PROCESSES = 8


def run(item: str, place: Place) -> Iterator[dict[str, Any]]:
    """One row of kind `tests`: how many passed, failed and were skipped, and the failures."""
    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if missing:
        yield {"kind": "problem", "of": "pytest", "text": f"{', '.join(missing)}: not installed"}
        return
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-P", "-m", "pytest", "tests/gpu/real", "-m", "gpu"]
        command += ["-k", item, "-q", "--tb=short", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}"]
        if find_spec("xdist") is not None:
            command += ["-n", str(min(_PROCESSES, os.cpu_count() or 1))]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        yield {
            "kind": "tests",
            "slice": item,
            "exit": made.returncode,
            **(read_report(report) if report.exists() else {}),
            "tail": made.stdout[-1500:] + made.stderr[-500:],
        }


def read_report(path: Path) -> dict[str, Any]:
    """Counts, and up to ten failures with their ends."""
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    failures = {}
    for case in failed[:10]:
        told = case.find("failure")
        told = case.find("error") if told is None else told
        assert told is not None
        failures[case.get("name", "")] = (told.text or told.get("message") or "")[-800:]
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "failed": len(failed),
        "skipped": len(skipped),
        "failures": failures,
    }
