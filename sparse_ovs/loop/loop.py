"""The training loop: steps, checkpoints and logs; what is trained, and on what loss, is the
caller's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparse_ovs.loop.batches import Batches
from sparse_ovs.loop.checkpoints import Checkpoints
from sparse_ovs.loop.configuration import as_json, describe_optimizer, describe_schedule
from sparse_ovs.loop.ema import Ema
from sparse_ovs.loop.logs import CsvLog
from sparse_ovs.loop.one_run import PlaceInUse, hold_folder
from sparse_ovs.loop.processes import Alone, Processes
from sparse_ovs.loop.progress import Meter, Report
from sparse_ovs.loop.schedules import Constant, Schedule
from sparse_ovs.loop.seeds import rng_state, seed_everything, set_rng_state
from sparse_ovs.loop.tensorboard import TensorBoardLog

Losses = Callable[[Any, int], Mapping[str, Tensor | float]]
Hook = Callable[[int], None]


class Stateful(Protocol):
    """Anything whose state goes into the checkpoint; see loop.encoding for what state may hold."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Puts it back; tensors come on the CPU."""
        ...


@dataclass(frozen=True)
class LoopSettings:
    """How a run goes. A step is one of the optimiser.

    Attributes:
        steps: of the whole run; a finished run goes on when it is resumed with more.
        seed: of the global generators when the run begins.
        accumulate: batches a step; losses and gradients are their mean.
        clip_norm: largest 2-norm of all gradients together; None does not clip.
        schedule: factor on the learning rates that the optimiser has when the loop is made.
        autocast: dtype of torch.autocast around the losses, None for none; float16 brings a
            GradScaler.
        checkpoint_every: steps between checkpoints; one more is written after the last step.
        keep_checkpoints: the newest that are kept.
        log_every: steps between log rows and reports; the last step has one too.
        tensorboard: also log for TensorBoard (needs the package tensorboard).
    """

    steps: int
    seed: int = 0
    accumulate: int = 1
    clip_norm: float | None = None
    schedule: Schedule = field(default_factory=Constant)
    autocast: torch.dtype | None = None
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    log_every: int = 1
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "checkpoint_every", "keep_checkpoints", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} >= 1, got {getattr(self, name)}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"expected clip_norm > 0 or None, got {self.clip_norm}")
        if self.autocast not in (None, torch.float16, torch.bfloat16):
            raise ValueError(f"expected autocast float16, bfloat16 or None, got {self.autocast}")

    def describe(self) -> dict[str, Any]:
        """Those that decide the numbers, JSON-able."""
        return {
            "seed": self.seed,
            "accumulate": self.accumulate,
            "clip_norm": self.clip_norm,
            "schedule": describe_schedule(self.schedule),
            "autocast": str(self.autocast),
        }


class Loop:
    """A training run that continues bit for bit after it was killed at any moment.

    One step: the losses of `accumulate` batches and their gradients, clipping, the optimiser, the
    EMA, the hooks; then the log row, the checkpoint and the report where they are due. A checkpoint
    holds model, optimiser, GradScaler, EMA, `state`, the global random states of Python, numpy and
    torch, and the length of the log. The same bits come back if the losses are deterministic on
    the device; modes (`train`, `eval`) and devices are the caller's.

    Several processes run the same loop, each on its share of every batch (see DatasetBatches): the
    losses' gradients must be the mean over the processes, by `Processes.wrap`. The first process
    alone writes and reports, means over all; the folder must be one that all of them read.

    Args:
        model: what is trained, or several modules by name.
        optimizer: of its parameters.
        losses: (batch, its number) -> scalars by name, of which "loss" is minimised and the others
            are logged.
        batches: see DatasetBatches and GeneratedBatches.
        settings: how the run goes.
        folder: for `log.csv`, `checkpoints/` and `tensorboard/`, held by one run at a time; None
            writes nothing.
        config: what else decides the numbers, JSON-able; a checkpoint of another one is refused.
        state: what else to save, by name, e.g. masks.
        ema: follows the model at every step.
        hooks: called in order after every step with the number of steps done; may change the model
            and what is in `state`.
        report: called with each logged step, after everything else.
        processes: that run together; None for this one alone.

    Attributes:
        step: steps done.

    Raises:
        TypeError: a config that is not JSON-able.
    """

    def __init__(
        self,
        model: nn.Module | Mapping[str, nn.Module],
        optimizer: Optimizer,
        losses: Losses,
        batches: Batches,
        settings: LoopSettings,
        *,
        folder: str | os.PathLike[str] | None = None,
        config: Mapping[str, Any] | None = None,
        state: Mapping[str, Stateful] | None = None,
        ema: Ema | None = None,
        hooks: Sequence[Hook] = (),
        report: Callable[[Report], None] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.step = 0
        self._processes = processes or Alone()
        self._model = model if isinstance(model, nn.Module) else nn.ModuleDict(dict(model))
        self._optimizer, self._losses, self._batches = optimizer, losses, batches
        self._settings, self._ema, self._hooks, self._report = settings, ema, hooks, report
        self._folder = None if folder is None else Path(folder)
        self._learning_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._device = optimizer.param_groups[0]["params"][0].device.type
        self._scaler = torch.amp.GradScaler(
            self._device, enabled=settings.autocast == torch.float16
        )
        self._stateful: dict[str, Stateful] = {
            "model": self._model,
            "optimizer": optimizer,
            "scaler": self._scaler,
            **({} if ema is None else {"ema": ema}),
            **{f"state.{name}": part for name, part in (state or {}).items()},
        }
        self._config = as_json(
            {
                "loop": settings.describe(),
                "optimizer": describe_optimizer(optimizer),
                "batches": batches.describe(),
                "ema": None if ema is None else ema.decay,
                "state": sorted(state or {}),
                "config": dict(config or {}),
            }
        )

    def run(self, resume: bool = False) -> None:
        """Runs to the last step. To be called once.

        Args:
            resume: go on from the newest checkpoint in the folder; begin where there is none.

        Raises:
            FileExistsError: the folder holds checkpoints and resume is False.
            FileFormatError: all checkpoints are damaged.
            ImportError: TensorBoard is asked for and not installed.
            KeyError: the losses have no "loss".
            ValueError: another run works in the folder (PlaceInUse), the checkpoint is of another
                configuration, or log rows differ in columns.
        """
        with self._folder_held():
            self._run_held(resume)

    @contextmanager
    def _folder_held(self) -> Iterator[None]:
        """By the first process, for all of them; where it is refused, all are."""
        if self._folder is None:
            yield
            return
        with ExitStack() as stack:
            refusal: PlaceInUse | None = None
            if self._processes.index == 0:
                try:
                    stack.enter_context(hold_folder(self._folder))
                except PlaceInUse as error:
                    refusal = error
            refused = torch.tensor([refusal is not None], dtype=torch.float64)
            if float(self._processes.mean(refused)) > 0:
                raise refusal or PlaceInUse(
                    f"expected a folder that no other run works in, got {self._folder}"
                )
            yield

    def _run_held(self, resume: bool) -> None:
        settings = self._settings
        checkpoints, found = None, None
        if self._folder is not None:
            checkpoints = Checkpoints(self._folder / "checkpoints", settings.keep_checkpoints)
            if not resume and checkpoints.steps():
                raise FileExistsError(
                    f"expected a folder without checkpoints, or resume, got {self._folder}"
                )
            found = checkpoints.load(self._config)
        seed_everything(settings.seed)
        log_length = 0 if found is None else self._restore(*found)
        if self.step >= settings.steps:
            return
        if self._processes.index > 0:
            self._run(None, _Logs(None, False, 0, 0))
            return
        with _Logs(self._folder, settings.tensorboard, self.step, log_length) as logs:
            self._run(checkpoints, logs)

    def _run(self, checkpoints: Checkpoints | None, logs: _Logs) -> None:
        settings = self._settings
        meter = Meter(self.step, settings.steps, self._batches.batch_size * settings.accumulate)
        batches = self._batches.start(self.step * settings.accumulate)
        while self.step < settings.steps:
            metrics = self._train_step(batches)
            self.step += 1
            for hook in self._hooks:
                hook(self.step)
            last = self.step == settings.steps
            logged = last or self.step % settings.log_every == 0
            if logged:
                row = self._row(metrics)
                logs.write(self.step, row)
            if checkpoints is not None and (last or self.step % settings.checkpoint_every == 0):
                checkpoints.save(self.step, self._state(logs.sync()), self._config)
            if logged and self._report is not None and self._processes.index == 0:
                self._report(meter.report(self.step, row))

    def _train_step(self, batches: Iterator[Any]) -> dict[str, Tensor | float]:
        """One step of the optimiser; the mean of each metric over its batches, and the rate."""
        settings, optimizer, scaler = self._settings, self._optimizer, self._scaler
        factor = settings.schedule.factor(self.step)
        for group, rate in zip(optimizer.param_groups, self._learning_rates, strict=True):
            _set_rate(group, rate * factor)
        optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        first = self.step * settings.accumulate
        for number in range(first, first + settings.accumulate):
            batch = next(batches)
            with torch.autocast(
                self._device, settings.autocast, enabled=settings.autocast is not None
            ):
                losses = self._losses(batch, number)
            if "loss" not in losses:
                raise KeyError(f"expected a 'loss' among the losses, got {sorted(losses)}")
            loss = torch.as_tensor(losses["loss"]) / settings.accumulate
            scaler.scale(loss).backward()
            for name, value in losses.items():
                part = torch.as_tensor(value).detach() / settings.accumulate
                sums[name] = sums[name] + part if name in sums else part
        metrics: dict[str, Tensor | float] = {"lr": self._learning_rates[0] * factor, **sums}
        if settings.clip_norm is not None:
            scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            metrics["grad_norm"] = nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        if self._ema is not None:
            self._ema.update()
        return metrics

    def _row(self, metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
        """Means over the processes."""
        own = torch.tensor([float(value) for value in metrics.values()], dtype=torch.float64)
        return dict(zip(metrics, self._processes.mean(own).tolist(), strict=True))

    def _state(self, log_length: int) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._stateful.items()}
        return {"parts": parts, "rng": rng_state(), "log_length": log_length}

    def _restore(self, step: int, state: dict[str, Any]) -> int:
        """Puts a checkpoint back; the length of the log at its step."""
        for name, part in self._stateful.items():
            part.load_state_dict(state["parts"][name])
        set_rng_state(state["rng"])
        self.step = step
        return state["log_length"]


class _Logs:
    """The run's CSV and TensorBoard logs, those that are wanted."""

    def __init__(self, folder: Path | None, tensorboard: bool, step: int, length: int) -> None:
        self._csv: CsvLog | None = None
        self._tensorboard: TensorBoardLog | None = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if tensorboard:
            self._tensorboard = TensorBoardLog(folder / "tensorboard", step)
        self._csv = CsvLog(folder / "log.csv", length)

    def __enter__(self) -> _Logs:
        return self

    def __exit__(self, *_: object) -> None:
        for log in (self._csv, self._tensorboard):
            if log is not None:
                log.close()

    def write(self, step: int, row: Mapping[str, float]) -> None:
        if self._csv is not None:
            self._csv.write({"step": step, **row})
        if self._tensorboard is not None:
            self._tensorboard.write(step, row)

    def sync(self) -> int:
        """Makes them last; the length of the CSV in bytes."""
        if self._tensorboard is not None:
            self._tensorboard.flush()
        return 0 if self._csv is None else self._csv.sync()


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):  # of capturable optimisers
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
