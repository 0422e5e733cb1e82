"""Stands in for `gpu_runs.child`: what an item's name says is what happens to it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from gpu_runs.child import LOST
from gpu_runs.lines import Teller


def main(lines: str, *items: str) -> int:
    teller, parent = Teller(Path(lines)), os.getppid()
    for item in items:
        if item == "absent":
            print("no torch here")
            return 1
        teller.tell("begin", item)
        teller.tell("row", {"kind": "problem", "of": item, "text": f"process {os.getpid()}"})
        if item == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if item.startswith("hangs"):
            while os.getppid() == parent != 1:  # 1: the runner was gone before it was asked for
                time.sleep(0.1)
        if item.startswith("slow"):
            time.sleep(0.3)
        if item == "fails":
            teller.tell("failed", "ValueError: expected more")
        else:
            teller.tell("done", item)
        if item == "loses the GPU":
            return LOST
    return 0


sys.exit(main(*sys.argv[1:]))
