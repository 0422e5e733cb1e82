"""Runs something in a forked child, as DataLoader workers are made."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable

import torch


def in_child(body: Callable[[], bool]) -> bool:
    """What body says in a forked child; a child that hangs is False."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that hangs
        # As DataLoader workers do: torch's own parallel loops hang in a child whose parent ran any.
        torch.set_num_threads(1)
        try:
            os._exit(0 if body() else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
