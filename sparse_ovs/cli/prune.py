"""sparse-ovs prune: finds a sparse subnetwork of an encoder, from a folder of images alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from torch import Tensor
from torch.utils.data import DataLoader

import sparse_ovs
from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.cli.console import err, out, progress
from sparse_ovs.cli.options import (
    CostSize,
    CostThreads,
    ModelName,
    PatternName,
    Pretrained,
    parse_size,
)
from sparse_ovs.data import ImageFolder
from sparse_ovs.loop import DatasetBatches, progress_bar
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling import BASELINES
from sparse_ovs.pruning import masks as mask_files
from sparse_ovs.pruning.controls import random_masks_like, uniform_random_masks
from sparse_ovs.pruning.cost import mac_costs
from sparse_ovs.pruning.criteria import (
    density_of,
    kept_magnitude,
    magnitude_masks,
    unit_counts,
)
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.goals import DensityGoal, Goal, MacsGoal, SpeedupGoal
from sparse_ovs.pruning.masks import MaskInfo
from sparse_ovs.pruning.permute import permute_for_blocks
from sparse_ovs.pruning.recalibrate import recalibrate_batch_norm
from sparse_ovs.pruning.rounds import SCHEDULES, RoundSettings, ScheduleName
from sparse_ovs.pruning.run import TrainSettings, prune_and_train
from sparse_ovs.pruning.run import prune as prune_untrained
from sparse_ovs.pruning.speedup import SpeedupSearch, Weighing

_CONTROLS = ("random", "uniform")
# What "gradual" takes where it is not told.
_GRADUAL_ROUNDS = 22
# A measured speed-up so far from the asked one, relative, is remarked on.
_FAR = 0.1


def prune(
    model: ModelName,
    out_file: Annotated[
        Path, typer.Option("--out", help="the masks (.safetensors)", dir_okay=False)
    ],
    density: Annotated[
        float | None, typer.Option(help="kept fraction of the weights in scope")
    ] = None,
    budget_macs: Annotated[
        float | None,
        typer.Option(help="instead: kept fraction of the MACs in scope, at --size"),
    ] = None,
    target_speedup: Annotated[
        float | None,
        typer.Option(help="instead: so many times faster than dense torch, at --size, --threads"),
    ] = None,
    pattern: PatternName = "unstructured",
    schedule: Annotated[
        str,
        typer.Option(
            help="imp: a tenth of what remains a round; oneshot; gradual: cubic; and the controls "
            "random: the densities by layer of --like or of magnitude; uniform: one random choice "
            "over all weights"
        ),
    ] = "imp",
    rounds: Annotated[
        int | None, typer.Option(help="of gradual; of imp instead of a density (22: 0.0985)")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="folder of images, no labels: to train and recalibrate on")
    ] = None,
    iters_per_round: Annotated[
        int, typer.Option(help="training steps before each round, 0 for none", min=0)
    ] = 0,
    batch: Annotated[int, typer.Option(help="images a step", min=1)] = 16,
    lr: Annotated[float, typer.Option(help="learning rate of AdamW")] = 1e-4,
    workers: Annotated[int, typer.Option(help="processes that read images", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="of random masks, weights and batches")] = 0,
    recalibrate: Annotated[
        int,
        typer.Option(help="batches of images to estimate BatchNorm's statistics on, in the end"),
    ] = 0,
    pretrained: Pretrained = None,
    weigh: Annotated[
        str, typer.Option(help="squared magnitude over what, for a speed-up: time, macs, or plain")
    ] = "time",
    size: CostSize = "224",
    threads: CostThreads = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help=f"dense contestant, may be repeated: {', '.join(BASELINES)}; all"),
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="mask file whose densities random masks take")
    ] = None,
    weights_file: Annotated[
        Path | None,
        typer.Option("--weights", help="also write the pruned encoder, packed", dir_okay=False),
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="log and checkpoints; default: OUT with .run behind it")
    ] = None,
    permute: Annotated[
        bool,
        typer.Option(
            "--permute", help="first order the channels inside bottlenecks for blockRx1 patterns"
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on where a run stopped")] = False,
) -> None:
    """Find a sparse subnetwork: masks that any framework with this encoder can use.

    Without --images nothing is trained: magnitudes alone decide. With --images and
    --iters-per-round the encoder learns, before each round, the maps and the embedding of its
    dense self. Killed runs go on with --resume, to the same bits.

    `sparse-ovs prune RN50 --pretrained openai --density 0.1 --schedule oneshot --out m.safetensors`

    `sparse-ovs prune RN50 --pretrained openai --images photos --iters-per-round 100 --rounds 22
    --out m.safetensors --weights encoder.safetensors`

    `sparse-ovs prune RN50 --target-speedup 3 --size 640 --threads 1 --schedule oneshot
    --out m.safetensors`
    """
    _check(schedule, density, budget_macs, target_speedup, rounds, like)
    if permute and schedule in _CONTROLS:
        raise ValueError(f"expected --permute with magnitudes, got schedule {schedule}")
    if images is None and (iters_per_round or recalibrate):
        raise ValueError("expected --images to train or recalibrate on, got none")
    height, width = parse_size(size)
    control = schedule in _CONTROLS
    with progress(f"create {model}") as say:
        torch.manual_seed(seed)
        backbone = create_backbone(model, pretrained)
        dataset = None if images is None else ImageFolder(images, backbone.preprocess)
        layers = backbone.scope()
        example = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        goal: Goal = DensityGoal(density)
        if budget_macs is not None:
            goal = MacsGoal(budget_macs, mac_costs(backbone, example, layers))
        elif target_speedup is not None:
            search = SpeedupSearch(
                backbone, example, layers, pattern, threads, baseline or BASELINES, on_step=say
            )
            goal = SpeedupGoal(target_speedup, search, cast(Weighing, weigh))
        settings = None if control else _rounds(cast(ScheduleName, schedule), rounds)
        orders = {}
        if permute and settings is not None:
            orders = _permute(backbone, pattern, goal, settings, say)
    before = {n: w.detach().clone() for n, w in named_weights(backbone, layers).items()}
    trained = settings is not None and iters_per_round > 0
    if settings is None:
        found = _random_masks(schedule, before, pattern, density, like, seed)
        mask_files.apply(backbone, found)
    elif trained:
        assert dataset is not None
        with progress_bar(err, f"prune {model}", ("density",)) as report:
            found = prune_and_train(
                backbone,
                layers,
                pattern,
                goal,
                settings,
                DatasetBatches(dataset, batch, seed, workers),
                LabelFreeDistillation(backbone),
                TrainSettings(iters_per_round, lr, seed=seed),
                folder=work or out_file.with_name(f"{out_file.name}.run"),
                resume=resume,
                report=report,
            )
    else:
        with progress("prune") as say:

            def show(done: int, all_rounds: int, kept: float) -> None:
                say(f"round {done} of {all_rounds}: density {kept:.4f}")

            found = prune_untrained(backbone, layers, pattern, goal, settings, show)
    if recalibrate:
        assert dataset is not None
        with progress("recalibrate BatchNorm"):
            recalibrate_batch_norm(backbone, _batches(dataset, batch, recalibrate))
    info = MaskInfo(
        model=f"{backbone.clip.name} {pretrained or 'random weights'}",
        pattern=pattern,
        criterion=f"random, seed {seed}" if control else goal.criterion,
        schedule="random in one step" if control else str(settings),
        seed=seed,
        weights="trained" if trained else "original",
    )
    mask_files.save(out_file, found, info, orders)
    err.print(f"wrote {out_file}")
    if weights_file is not None:
        _write_weights(backbone, found, pattern, weights_file)
    _say_what_was_found(found, before, backbone, example, goal, pretrained)


def _rounds(schedule: ScheduleName, rounds: int | None) -> RoundSettings:
    if schedule == "gradual" and rounds is None:
        rounds = _GRADUAL_ROUNDS
    return RoundSettings(schedule, rounds)


def _permute(
    backbone: Backbone,
    pattern: str,
    goal: Goal,
    settings: RoundSettings,
    say: Callable[[str], None],
) -> dict[str, Tensor]:
    """Orders channels for the density that pruning will end with; the orders."""
    weights = named_weights(backbone, backbone.scope())
    density = goal.density(weights, pattern)
    if density is None:
        total = sum(unit_counts(weights, pattern).values())
        density = settings.counts(total, None)[-1] / total

    def show(layer: str, done: int, most: int) -> None:
        say(f"order channels: {layer}, {done} of at most {most}")

    report = permute_for_blocks(backbone, pattern, density, progress=show)
    err.print(str(report))
    return report.orders


def _check(
    schedule: str,
    density: float | None,
    budget_macs: float | None,
    target_speedup: float | None,
    rounds: int | None,
    like: Path | None,
) -> None:
    known = (*SCHEDULES, *_CONTROLS)
    if schedule not in known:
        raise ValueError(f"expected a schedule of {', '.join(known)}, got {schedule!r}")
    ends: dict[str, Any] = {
        "--density": density,
        "--budget-macs": budget_macs,
        "--target-speedup": target_speedup,
        "--like": like,
    }
    if schedule == "imp":
        ends["--rounds"] = rounds
    given = [name for name, value in ends.items() if value is not None]
    if len(given) != 1:
        raise ValueError(
            f"expected one of {', '.join(ends)}, got {' and '.join(given) or 'none of them'}"
        )
    if like is not None and schedule != "random":
        raise ValueError(f"expected --like with schedule random, got schedule {schedule}")
    if schedule in _CONTROLS and given[0] not in ("--density", "--like"):
        raise ValueError(f"expected --density with schedule {schedule}, got {given[0]}")


def _random_masks(
    schedule: str,
    weights: dict[str, Tensor],
    pattern: str,
    density: float | None,
    like: Path | None,
    seed: int,
) -> dict[str, Tensor]:
    if schedule == "uniform":
        shapes = {name: weight.shape for name, weight in weights.items()}
        return uniform_random_masks(shapes, pattern, density, seed=seed)
    if like is not None:
        masks = mask_files.load(like).masks
        if set(masks) != set(weights):
            odd = sorted(set(masks) ^ set(weights))
            raise ValueError(f"expected masks of the encoder's scope in {like}, got {odd[0]}")
    else:
        masks = magnitude_masks(weights, pattern, density)
    return random_masks_like(masks, pattern, seed=seed)


def _batches(dataset: ImageFolder, size: int, count: int) -> Iterator[Tensor]:
    for number, batch in enumerate(DataLoader(dataset, size)):
        if number == count:
            return
        yield batch


def _write_weights(backbone: Backbone, masks: dict[str, Tensor], pattern: str, path: Path) -> None:
    sparse_ovs.sparsify(backbone, pattern, None, masks=masks)
    sparse_ovs.save(backbone, path)
    err.print(f"wrote {path}")
    sparse_ovs.densify(backbone)


def _say_what_was_found(
    masks: dict[str, Tensor],
    weights: dict[str, Tensor],
    backbone: Backbone,
    example: Tensor,
    goal: Goal,
    pretrained: str | None,
) -> None:
    costs = mac_costs(backbone, example, backbone.scope())
    kept = sum(int(mask.sum()) for mask in masks.values())
    everything = {name: torch.ones_like(mask) for name, mask in masks.items()}
    height, width = example.shape[2:]
    out.print(
        f"density {density_of(masks):.4f}: {kept:,} of "
        f"{sum(m.numel() for m in masks.values()):,} weights in scope, "
        f"{kept_magnitude(weights, masks):.1%} of their magnitude\n"
        f"{costs.of(masks) / 1e9:.2f} of {costs.of(everything) / 1e9:.2f} GMAC "
        f"at {height}x{width}, what is not pruned included"
    )
    if isinstance(goal, SpeedupGoal) and goal.result is not None:
        found = goal.result
        out.print(
            f"{found.speedup} as fast: {found.sparse_ms:.1f} ms against {found.dense_ms:.1f} ms of "
            f"{found.baseline} torch, batch 1, at {height}x{width}"
        )
        if abs(found.speedup.median / goal.speedup - 1) > _FAR:
            out.print(
                f"The closest of {len(found.tries)} tries to {goal.speedup:g}x.", style="yellow"
            )
    if pretrained is None:
        out.print("RANDOM WEIGHTS: the masks mean nothing; times do.", style="yellow")
