"""A small run of the loop that uses all of it, for tests that kill and resume it.

Runs in processes of their own, which begin without the threads of the test's.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sparse_ovs.loop import Cosine, DatasetBatches, Ema, Loop, LoopSettings, Report
from sparse_ovs.loop.logs import CsvLog
from sparse_ovs.pruning.fixed import FixedMasks

STEPS = 48
_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED: list[str] = []


def preload(*modules: str) -> None:
    """Imports what is slow once, for all processes; before the first of them starts."""
    _PRELOADED.extend(modules)
    _CONTEXT.set_forkserver_preload(_PRELOADED)


preload("sparse_ovs.loop", "sparse_ovs.pruning.fixed")


def process(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A started process that calls target; it can be killed."""
    made = _CONTEXT.Process(target=target, args=arguments)
    made.start()
    return made


def kill_at_moments(run: Callable[..., None], folder: Path, steps: int, kills: int) -> None:
    """Runs `run(folder, reports)`, kills it somewhere in its first part, again in the next, ..."""
    chance = random.Random()
    for kill in range(kills):
        reader, writer = pipe()
        child = process(run, folder, writer)
        writer.close()
        # Within the step, or the checkpoint after it.
        moment = steps * kill // (kills + 2) + chance.randrange(steps // (kills + 2) + 1)
        while moment and reader.recv() < moment:
            pass
        time.sleep(chance.uniform(0, 0.02))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL


def pipe() -> tuple[Connection, Connection]:
    """(reader, writer); the writer may be an argument of `process`."""
    return _CONTEXT.Pipe(duplex=False)


def event() -> Event:
    """What processes can wait for; may be an argument of `process`."""
    return _CONTEXT.Event()


class _Items(Dataset[Tensor]):
    """Images with random noise as augmentation."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, item: int) -> Tensor:
        return torch.full((3, 6, 6), item / 10) + torch.randn(3, 6, 6)


class _Rounds:
    """Prunes the smallest tenth of what remains every five steps, and counts."""

    def __init__(self, masks: FixedMasks, model: nn.Module) -> None:
        self._masks, self._model, self.done = masks, model, 0

    def __call__(self, step: int) -> None:
        if step % 5:
            return
        masks = {}
        for name, mask in self._masks.masks.items():
            weight = self._model.get_submodule(name).weight.detach().abs()
            order = weight.masked_fill(~mask, torch.inf).flatten().argsort()
            masks[name] = mask.flatten().index_fill(0, order[: int(mask.sum()) // 10], False)
            masks[name] = masks[name].reshape(mask.shape)
        self._masks.update(masks)
        self.done += 1

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done = state["done"]


def train(folder: Path, reports: Connection | None = None) -> None:
    """Runs or resumes it to the end; or sends the number of each step done, and waits shortly
    before the end to be killed."""

    def report(done: Report) -> None:
        if reports is not None:
            reports.send(done.step)
            if done.step == STEPS - 4:
                time.sleep(600)

    torch.set_num_threads(1)
    torch.manual_seed(11)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(4, 2, 3)
    )
    ema = Ema(model, 0.9)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    masks = FixedMasks(
        model, {name: torch.ones_like(model.get_submodule(name).weight).bool() for name in "04"}
    )
    masks.attach(optimizer)
    masks.follow(ema.model)
    rounds = _Rounds(masks, model)

    def losses(batch: Tensor, number: int) -> dict[str, Tensor]:
        noise = random.gauss(0, 0.1) + float(np.random.normal())
        output = model(batch + noise)
        return {"loss": (output - 1).square().mean(), "spread": output.std()}

    Loop(
        model,
        optimizer,
        losses,
        DatasetBatches(_Items(), 3, seed=4),
        LoopSettings(
            steps=STEPS,
            seed=7,
            accumulate=2,
            clip_norm=1.0,
            schedule=Cosine(steps=STEPS, warmup=3),
            checkpoint_every=3,
        ),
        folder=folder,
        state={"masks": masks, "rounds": rounds},
        ema=ema,
        hooks=[rounds],
        report=report,
    ).run(resume=True)
    assert rounds.done == STEPS // 5


def train_and_die(folder: Path, place: str) -> None:
    """As `train`, but the process kills itself in the sixth checkpoint or its row, at `place`."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    replace, fsync, write, count = os.replace, os.fsync, CsvLog.write, 0

    def dying_replace(source: Any, target: Any) -> None:
        nonlocal count
        count += 1
        if count == 6 and place == "before the rename":
            die()
        replace(source, target)
        if count == 6 and place == "after the rename":
            die()

    def dying_fsync(descriptor: int) -> None:
        if count == 5 and place == "half written":
            path = f"/proc/self/fd/{descriptor}"
            if ".step-" in os.readlink(path):
                os.truncate(path, os.path.getsize(path) // 2)
                die()
        fsync(descriptor)

    def dying_write(log: CsvLog, row: Any) -> None:
        if row["step"] == 17 and place == "within a row":
            with (folder / "log.csv").open("a") as file:
                file.write("17,0.1")
            die()
        write(log, row)

    os.replace, os.fsync = dying_replace, dying_fsync
    CsvLog.write = dying_write  # type: ignore[method-assign]
    train(folder)
