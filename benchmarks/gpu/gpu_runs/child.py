"""A child process: runs items of one step, and tells what it finds line by line.

`python -m gpu_runs.child MODULE LINES RESULTS ITEM...`; `GPU_RUNS_REHEARSE=1` rehearses. It ends
with `LOST` after an error that a CUDA context does not survive: the parent starts another for what
is left.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu_runs.lines import Teller
from gpu_runs.place import Place

LOST = 70
REHEARSE = "GPU_RUNS_REHEARSE"

Run = Callable[[str, Place], Iterator[dict[str, Any]]]


def run_items(run: Run, items: Sequence[str], place: Place, teller: Teller) -> bool:
    """Runs them in turn; False where the GPU cannot be used any more in this process."""
    for item in items:
        teller.tell("begin", item)
        try:
            with _rehearsed(place.rehearsing, teller):
                for row in run(item, place):
                    teller.tell("row", row)
        except Exception as error:  # whatever a compiler, a driver or a library raises
            teller.tell("failed", f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        else:
            teller.tell("done", item)
        if not (place.rehearsing or _gpu_works()):
            teller.tell("note", f"{item} has left the GPU unusable for its process")
            return False
    return True


def _rehearsed(rehearsing: bool, teller: Teller) -> AbstractContextManager[object]:
    if not rehearsing:
        return nullcontext()
    from gpu_runs.rehearsal import rehearsing as stand_ins

    return stand_ins(lambda kernel: teller.tell("row", {"kind": "launch", "kernel": kernel}))


def _no_gpu() -> str:
    import torch

    if torch.cuda.is_available():
        return ""
    built = torch.version.cuda
    return f"expected a GPU, got none that torch sees (torch {torch.__version__}, CUDA {built})"


def _gpu_works() -> bool:
    import torch

    try:
        torch.cuda.synchronize()
        return bool(torch.ones(2, device="cuda").sum() == 2)
    except Exception:
        return False


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    module, lines, results, *items = arguments
    from gpu_runs.missing import stand_in_for_open_clip

    teller = Teller(Path(lines))
    if stand_in_for_open_clip():
        teller.tell("note", "open_clip is missing: timm's resnet50_clip is the trunk")
    place = Place(Path(results), os.environ.get(REHEARSE) == "1")
    if not place.rehearsing and (reason := _no_gpu()):
        print(reason)
        return 1
    run = import_module(f"gpu_runs.steps.{module}").run
    return 0 if run_items(run, items, place, teller) else LOST


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
