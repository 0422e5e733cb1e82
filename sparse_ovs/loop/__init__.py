"""A resumable training loop that knows no head and no loss."""

from sparse_ovs.loop.batches import Batches, DatasetBatches, GeneratedBatches
from sparse_ovs.loop.checkpoints import Checkpoints
from sparse_ovs.loop.ema import Ema
from sparse_ovs.loop.loop import Hook, Loop, LoopSettings, Losses, Stateful
from sparse_ovs.loop.one_run import PlaceInUse, hold_file, hold_folder
from sparse_ovs.loop.processes import Accelerated, Alone, Processes, launched
from sparse_ovs.loop.progress import Report, progress_bar
from sparse_ovs.loop.schedules import Constant, Cosine, MultiStep, Poly, Schedule
from sparse_ovs.loop.seeds import derive_seed, seed_everything

__all__ = [
    "Accelerated",
    "Alone",
    "Batches",
    "Checkpoints",
    "Constant",
    "Cosine",
    "DatasetBatches",
    "Ema",
    "GeneratedBatches",
    "Hook",
    "Loop",
    "LoopSettings",
    "Losses",
    "MultiStep",
    "PlaceInUse",
    "Poly",
    "Processes",
    "Report",
    "Schedule",
    "Stateful",
    "derive_seed",
    "hold_file",
    "hold_folder",
    "launched",
    "progress_bar",
    "seed_everything",
]
