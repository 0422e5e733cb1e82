"""The pruning recipe: from a dense encoder and settings to the masks of a subnetwork."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from sparse_ovs.backbones import Backbone, fit_masks
from sparse_ovs.engine import Quantization
from sparse_ovs.loop import Batches, Report
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.patterns import check_density, parse_pattern
from sparse_ovs.profiling.baselines import BASELINES
from sparse_ovs.pruning.controls import random_masks_like, uniform_random_masks
from sparse_ovs.pruning.cost import mac_costs
from sparse_ovs.pruning.criteria import magnitude_masks, unit_counts
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.goals import DensityGoal, Goal, MacsGoal, SpeedupGoal, check_mac_share
from sparse_ovs.pruning.learn_rounded import learn_rounded, maps_distillation
from sparse_ovs.pruning.masks import MaskInfo
from sparse_ovs.pruning.masks import apply as apply_masks
from sparse_ovs.pruning.masks import load as load_masks
from sparse_ovs.pruning.masks import save as save_masks
from sparse_ovs.pruning.permute import PermutationReport, permute_for_blocks
from sparse_ovs.pruning.recalibrate import recalibrate_batch_norm
from sparse_ovs.pruning.rounds import SCHEDULES, RoundSettings, ScheduleName
from sparse_ovs.pruning.run import TrainSettings, prune, prune_and_train
from sparse_ovs.pruning.speedup import SpeedupSearch, Weighing, check_contest, check_speedup

Control = Literal["random", "uniform"]
CONTROLS: tuple[Control, ...] = get_args(Control)
# What "gradual" takes where it is not told.
_GRADUAL_ROUNDS = 22


@dataclass(frozen=True)
class SubnetworkSettings:
    """How a subnetwork is found. One of `density`, `budget_macs`, `target_speedup` and `like` says
    where it ends; with "imp" `rounds` can instead.

    Attributes:
        schedule: "imp", a tenth of what remains a round; "oneshot"; "gradual", cubic; and the
            controls "random", the densities by layer of `like` or of magnitude, and "uniform", one
            random choice over all weights.
        density: kept fraction of the weights in scope.
        budget_macs: kept fraction of the MACs in scope, at `size`.
        target_speedup: so many times faster than dense torch, at `size` and `threads`.
        like: a mask file whose densities by layer "random" takes.
        rounds: of "gradual" (22 where None), and of "imp" instead of a density.
        pattern: see `sparse_ovs.make_mask`.
        permute: first order the channels inside bottlenecks, for patterns blockRx1.
        weigh: squared magnitude over what, for a speed-up.
        size: (H, W) in pixels that MACs and times are for.
        threads: that times are for; None takes torch's own choice.
        baselines: dense contestants of a speed-up, some of BASELINES.
        precision: that a speed-up is meant in, see compile.
        against: what a speed-up is over (see SpeedupSearch); None: the fastest baseline.
        iters_per_round: training steps before each round, 0 for none.
        lr: learning rate of AdamW.
        seed: of random masks and of training.
        qat: steps of training after the last round, with weights and maps rounded as int8 will
            (see `learn_rounded`), 0 for none.
        spell: how errors call a setting: commands say "--budget-macs".

    Raises:
        ValueError, TypeError: a setting out of its range, or settings that exclude each other.
    """

    schedule: ScheduleName | Control = "imp"
    density: float | None = None
    budget_macs: float | None = None
    target_speedup: float | None = None
    like: str | os.PathLike[str] | None = None
    rounds: int | None = None
    pattern: str = "unstructured"
    permute: bool = False
    weigh: Weighing = "time"
    size: tuple[int, int] = (224, 224)
    threads: int | None = None
    baselines: Sequence[str] = BASELINES
    iters_per_round: int = 0
    lr: float = 1e-4
    seed: int = 0
    precision: str = "fp32"
    against: str | None = None
    qat: int = 0
    spell: InitVar[Callable[[str], str]] = str

    def __post_init__(self, spell: Callable[[str], str]) -> None:
        known = (*SCHEDULES, *CONTROLS)
        if self.schedule not in known:
            raise ValueError(f"expected a schedule of {', '.join(known)}, got {self.schedule!r}")
        end = self._end(spell)
        if self.like is not None and self.schedule != "random":
            raise ValueError(
                f"expected {spell('like')} with schedule random, got schedule {self.schedule}"
            )
        if self.is_control and end not in ("density", "like"):
            raise ValueError(
                f"expected {spell('density')} with schedule {self.schedule}, got {spell(end)}"
            )
        if self.is_control and self.permute:
            raise ValueError(
                f"expected {spell('permute')} with magnitudes, got schedule {self.schedule}"
            )
        parse_pattern(self.pattern)
        if self.density is not None:
            check_density(self.density)
        if self.budget_macs is not None:
            check_mac_share(self.budget_macs)
        if self.target_speedup is not None:
            check_speedup(self.target_speedup)
            check_contest(self.precision, self.against)
        elif self.precision != "fp32" or self.against is not None:
            raise ValueError(
                f"expected {spell('target_speedup')} with {spell('precision')} and "
                f"{spell('against')}, got {spell(end)}"
            )
        if min(self.size) < 1:
            raise ValueError(f"expected a size of at least 1 pixel, got {self.size}")
        if self.iters_per_round < 0:
            raise ValueError(f"expected iters_per_round >= 0, got {self.iters_per_round}")
        if self.qat < 0:
            raise ValueError(f"expected {spell('qat')} of at least 0 steps, got {self.qat}")
        if self.weigh not in get_args(Weighing):
            raise ValueError(f"expected to weigh by plain, macs or time, got {self.weigh!r}")
        if self.iters_per_round:
            self.training()

    def _end(self, spell: Callable[[str], str]) -> str:
        """The one setting that says where pruning ends."""
        ends = ["density", "budget_macs", "target_speedup", "like"]
        if self.schedule == "imp":
            ends.append("rounds")
        given = [name for name in ends if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected one of {', '.join(map(spell, ends))}, got "
                f"{' and '.join(map(spell, given)) or 'none of them'}"
            )
        return given[0]

    @property
    def is_control(self) -> bool:
        """Whether masks are random."""
        return self.schedule in CONTROLS

    @property
    def trains(self) -> bool:
        """Whether the encoder learns between the rounds."""
        return not self.is_control and self.iters_per_round > 0

    def round_settings(self) -> RoundSettings:
        """Of a schedule that is no control."""
        assert self.schedule in SCHEDULES
        default = _GRADUAL_ROUNDS if self.schedule == "gradual" else None
        return RoundSettings(self.schedule, default if self.rounds is None else self.rounds)

    def training(self) -> TrainSettings:
        """Of the steps between rounds."""
        return TrainSettings(self.iters_per_round, self.lr, seed=self.seed)


class Watcher:
    """Is told how the search goes; does nothing itself."""

    def phase(self, name: str) -> AbstractContextManager[Callable[[str], None]]:
        """Around a part of the search; what it gives is called with a line of text at each step."""
        return nullcontext(lambda text: None)

    def training(self) -> AbstractContextManager[Callable[[Report], None]]:
        """Around training; what it gives is called with each step's report."""
        return nullcontext(lambda report: None)

    def permuted(self, report: PermutationReport) -> None:
        """Called where channels were ordered."""


@dataclass(frozen=True)
class Subnetwork:
    """What `find_subnetwork` found.

    Attributes:
        settings: that it was asked for.
        masks: bool by mask name.
        orders: of channels that the masks are for; empty where the original one.
        weights: in scope, ordered, before anything was pruned or trained.
        goal: where pruning ended.
        quantization: with the scales that the encoder learned with, after `qat`; else None.
        example: the input that MACs and times were counted for, (1, 3, H, W).
    """

    settings: SubnetworkSettings
    masks: dict[str, Tensor] = field(repr=False)
    orders: dict[str, Tensor] = field(repr=False)
    weights: dict[str, Tensor] = field(repr=False)
    goal: Goal
    example: Tensor = field(repr=False)
    quantization: Quantization | None = field(default=None, repr=False)

    def info(self, model: str) -> MaskInfo:
        """For mask files.

        Args:
            model: the encoder and its weights, in words.
        """
        settings, control = self.settings, self.settings.is_control
        return MaskInfo(
            model=model,
            pattern=settings.pattern,
            criterion=f"random, seed {settings.seed}" if control else self.goal.criterion,
            schedule="random in one step" if control else str(settings.round_settings()),
            seed=settings.seed,
            weights="trained" if settings.trains else "original",
        )

    def save(self, path: str | os.PathLike[str], model: str) -> None:
        """Writes a mask file; atomic. See `info`."""
        save_masks(path, self.masks, self.info(model), self.orders)


def find_subnetwork(
    settings: SubnetworkSettings,
    backbone: Backbone,
    batches: Batches | None = None,
    *,
    recalibrate_on: Iterable[Tensor] | None = None,
    calibrate_on: Sequence[Tensor] = (),
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> Subnetwork:
    """Prunes an encoder's default scope, with training between the rounds where settings say so:
    then it learns, before each round, the maps and the embedding of its dense self, without labels.

    Args:
        settings: what to find.
        backbone: dense; ordered, pruned and trained in place.
        batches: of images (N, 3, H, W), prepared as for the backbone, to train on.
        recalibrate_on: images on which BatchNorm's statistics are estimated in the end; None leaves
            them.
        calibrate_on: batches of images that int8's scales of maps are taken from, with `qat`.
        folder: for log and checkpoints of training; None writes nothing.
        resume: go on from the newest checkpoint in the folder, to the same bits.
        watcher: is told how it goes.

    Raises:
        ValueError: settings that do not fit the backbone, or training without batches.
        FileExistsError, FileFormatError, PlaceInUse: see `prune_and_train`.
        RuntimeError: a speed-up that cannot be measured here.
    """
    if settings.trains and batches is None:
        raise ValueError("expected batches of images to train on, got none")
    if settings.qat and (batches is None or not calibrate_on):
        raise ValueError("expected batches and images to calibrate on with qat, got none")
    watcher = watcher or Watcher()
    rounded_loss = maps_distillation(backbone) if settings.qat else None
    layers = backbone.scope()
    height, width = settings.size
    example = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with watcher.phase("weigh the layers") as say:
        goal = _goal(settings, backbone, example, say)
    orders: dict[str, Tensor] = {}
    if settings.permute:
        with watcher.phase("order channels") as say:
            report = _permute(settings, backbone, goal, say)
        watcher.permuted(report)
        orders = report.orders
    before = {n: w.detach().clone() for n, w in named_weights(backbone, layers).items()}
    if settings.is_control:
        masks = _random_masks(settings, backbone, before)
        apply_masks(backbone, masks)
    elif settings.trains:
        assert batches is not None
        with watcher.training() as tell:
            masks = prune_and_train(
                backbone,
                layers,
                settings.pattern,
                goal,
                settings.round_settings(),
                batches,
                LabelFreeDistillation(backbone),
                settings.training(),
                folder=folder,
                resume=resume,
                report=tell,
            )
    else:
        with watcher.phase("prune") as say:
            masks = prune(
                backbone,
                layers,
                settings.pattern,
                goal,
                settings.round_settings(),
                lambda done, of, kept: say(f"round {done} of {of}: density {kept:.4f}"),
            )
    if recalibrate_on is not None:
        with watcher.phase("recalibrate BatchNorm"):
            recalibrate_batch_norm(backbone, recalibrate_on)
    quantization: Quantization | None = None
    if rounded_loss is not None:
        assert batches is not None
        with watcher.training() as tell:
            quantization = learn_rounded(
                backbone,
                masks,
                calibrate_on,
                batches,
                rounded_loss,
                TrainSettings(settings.qat, settings.lr, seed=settings.seed),
                folder=None if folder is None else Path(folder, "qat"),
                resume=resume,
                report=tell,
            )
    return Subnetwork(settings, masks, orders, before, goal, example, quantization)


def _goal(
    settings: SubnetworkSettings, backbone: Backbone, example: Tensor, say: Callable[[str], None]
) -> Goal:
    layers = backbone.scope()
    if settings.budget_macs is not None:
        return MacsGoal(settings.budget_macs, mac_costs(backbone, example, layers))
    if settings.target_speedup is not None:
        search = SpeedupSearch(
            backbone,
            example,
            layers,
            settings.pattern,
            settings.threads,
            settings.baselines,
            on_step=say,
            precision=settings.precision,
            against=settings.against,
        )
        return SpeedupGoal(settings.target_speedup, search, settings.weigh)
    return DensityGoal(settings.density)


def _permute(
    settings: SubnetworkSettings, backbone: Backbone, goal: Goal, say: Callable[[str], None]
) -> PermutationReport:
    """Orders channels for the density that pruning will end with."""
    weights = named_weights(backbone, backbone.scope())
    density = goal.density(weights, settings.pattern)
    if density is None:
        total = sum(unit_counts(weights, settings.pattern).values())
        density = settings.round_settings().counts(total, None)[-1] / total

    def show(layer: str, done: int, most: int) -> None:
        say(f"order channels: {layer}, {done} of at most {most}")

    return permute_for_blocks(backbone, settings.pattern, density, progress=show)


def _random_masks(
    settings: SubnetworkSettings, backbone: Backbone, weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    pattern, density, seed = settings.pattern, settings.density, settings.seed
    if settings.schedule == "uniform":
        shapes = {name: weight.shape for name, weight in weights.items()}
        return uniform_random_masks(shapes, pattern, density, seed=seed)
    if settings.like is None:
        masks = magnitude_masks(weights, pattern, density)
    else:
        masks = fit_masks(backbone, load_masks(settings.like).masks)
        if set(masks) != set(weights):
            odd = sorted(set(masks) ^ set(weights))
            raise ValueError(
                f"expected masks of the encoder's scope in {settings.like}, got {odd[0]}"
            )
    return random_masks_like(masks, pattern, seed=seed)
