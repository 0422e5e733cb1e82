"""sparse-ovs prune: finds a sparse subnetwork of an encoder, from a folder of images alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, cast

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
from sparse_ovs.compilation import PRECISIONS
from sparse_ovs.data import ImageFolder
from sparse_ovs.loop import DatasetBatches, Report, progress_bar
from sparse_ovs.profiling import BASELINES
from sparse_ovs.profiling.runtimes import INT8_DENSE
from sparse_ovs.pruning import Subnetwork, SubnetworkSettings, Watcher, find_subnetwork
from sparse_ovs.pruning.cost import mac_costs
from sparse_ovs.pruning.criteria import density_of, kept_magnitude
from sparse_ovs.pruning.goals import SpeedupGoal
from sparse_ovs.pruning.permute import PermutationReport
from sparse_ovs.pruning.rounds import ScheduleName
from sparse_ovs.pruning.speedup import Weighing

# Batches that int8's scales of maps are taken from.
_CALIBRATION = 4
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
    precision: Annotated[
        str, typer.Option(help=f"that a speed-up is meant in: {', '.join(PRECISIONS)}")
    ] = "fp32",
    against: Annotated[
        str | None,
        typer.Option(
            help="what a speed-up is over: the dense encoder in int8 by "
            f"{' or '.join(INT8_DENSE)}, where that is installed; default: the fastest --baseline"
        ),
    ] = None,
    qat: Annotated[
        int,
        typer.Option(
            help="training steps after the last round with weights and maps rounded as int8 will; "
            "the scales are written beside --weights",
            min=0,
        ),
    ] = 0,
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

    `sparse-ovs prune RN50 --target-speedup 2 --precision int8 --against openvino_int8 --size 640
    --schedule oneshot --pattern block4x1 --out m.safetensors`
    """
    settings = SubnetworkSettings(
        schedule=cast(ScheduleName, schedule),
        density=density,
        budget_macs=budget_macs,
        target_speedup=target_speedup,
        like=like,
        rounds=rounds,
        pattern=pattern,
        permute=permute,
        weigh=cast(Weighing, weigh),
        size=parse_size(size),
        threads=threads,
        baselines=baseline or BASELINES,
        iters_per_round=iters_per_round,
        lr=lr,
        seed=seed,
        precision=precision,
        against=against,
        qat=qat,
        spell=lambda name: f"--{name.replace('_', '-')}",
    )
    if images is None and (iters_per_round or recalibrate or qat):
        raise ValueError("expected --images to train or recalibrate on, got none")
    if qat and weights_file is None:
        raise ValueError("expected --weights with --qat, which are what it learns, got none")
    with progress(f"create {model}"):
        torch.manual_seed(seed)
        backbone = create_backbone(model, pretrained)
        dataset = None if images is None else ImageFolder(images, backbone.preprocess)
    batches = still = None
    calibration: list[Tensor] = []
    if dataset is not None:
        batches = DatasetBatches(dataset, batch, seed, workers)
        still = _batches(dataset, batch, recalibrate) if recalibrate else None
        calibration = list(_batches(dataset, batch, _CALIBRATION)) if qat else []
    found = find_subnetwork(
        settings,
        backbone,
        batches,
        recalibrate_on=still,
        calibrate_on=calibration,
        folder=work or out_file.with_name(f"{out_file.name}.run"),
        resume=resume,
        watcher=_Shown(model),
    )
    found.save(out_file, f"{backbone.clip.name} {pretrained or 'random weights'}")
    err.print(f"wrote {out_file}")
    if weights_file is not None:
        _write_weights(backbone, found.masks, pattern, weights_file)
        if found.quantization is not None:
            scales = weights_file.with_name(f"{weights_file.stem}.quantization.safetensors")
            found.quantization.save(scales)
            err.print(f"wrote {scales}")
    _say_what_was_found(found, backbone, pretrained)


class _Shown(Watcher):
    """Shows a search: parts as spinners, training as a bar."""

    def __init__(self, model: str) -> None:
        self._model = model

    def phase(self, name: str) -> AbstractContextManager[Callable[[str], None]]:
        return progress(name)

    def training(self) -> AbstractContextManager[Callable[[Report], None]]:
        return progress_bar(err, f"prune {self._model}", ("density",))

    def permuted(self, report: PermutationReport) -> None:
        err.print(str(report))


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


def _say_what_was_found(found: Subnetwork, backbone: Backbone, pretrained: str | None) -> None:
    masks, example, goal, settings = found.masks, found.example, found.goal, found.settings
    costs = mac_costs(backbone, example, backbone.scope())
    kept = sum(int(mask.sum()) for mask in masks.values())
    everything = {name: torch.ones_like(mask) for name, mask in masks.items()}
    height, width = example.shape[2:]
    out.print(
        f"density {density_of(masks):.4f}: {kept:,} of "
        f"{sum(m.numel() for m in masks.values()):,} weights in scope, "
        f"{kept_magnitude(found.weights, masks):.1%} of their magnitude\n"
        f"{costs.of(masks) / 1e9:.2f} of {costs.of(everything) / 1e9:.2f} GMAC "
        f"at {height}x{width}, what is not pruned included"
    )
    if isinstance(goal, SpeedupGoal) and goal.result is not None:
        best = goal.result
        out.print(
            f"{best.speedup} as fast: {best.sparse_ms:.1f} ms in {settings.precision} against "
            f"{best.dense_ms:.1f} ms of {_words(best.baseline)}, batch 1, at {height}x{width}"
        )
        if abs(best.speedup.median / goal.speedup - 1) > _FAR:
            out.print(
                f"The closest of {len(best.tries)} tries to {goal.speedup:g}x.", style="yellow"
            )
    if pretrained is None:
        out.print("RANDOM WEIGHTS: the masks mean nothing; times do.", style="yellow")


def _words(baseline: str) -> str:
    return INT8_DENSE[baseline].label if baseline in INT8_DENSE else f"{baseline} torch"
