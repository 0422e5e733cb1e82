"""sparse-ovs compress: a pruned, quantised encoder from a folder of photos, in minutes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
import typer
from PIL import Image, ImageOps
from rich import progress
from rich.table import Table
from torch import Tensor

from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.backbones.clip_pixels import MEAN, STD
from sparse_ovs.backbones.weights import IMAGE_ENCODER
from sparse_ovs.cli.console import err, out, wide
from sparse_ovs.cli.options import CostThreads, ModelName, PatternName, Pretrained, parse_size
from sparse_ovs.compression import Compressed, CompressionSettings, compress_all
from sparse_ovs.compression.dense_encoder import Tell
from sparse_ovs.compression.images import read_photos, split_images
from sparse_ovs.compression.page import summary_lines, sweep_page
from sparse_ovs.compression.pictures import draw_sweep
from sparse_ovs.compression.settings import Allocation, Method, Precision
from sparse_ovs.formats import replace_file
from sparse_ovs.profiling import BASELINES
from sparse_ovs.profiling.runtimes import HOW_TO_GET, installed

_SHOWN = 10  # layers


def compress(
    model: ModelName,
    images: Annotated[Path, typer.Option(help="folder of images, no labels")],
    out_folder: Annotated[
        Path, typer.Option("--out", help="folder for masks, weights, plan and report")
    ],
    density: Annotated[
        float | None, typer.Option(help="kept fraction of the weights in scope")
    ] = None,
    budget_macs: Annotated[
        float | None, typer.Option(help="instead: kept fraction of the MACs in scope")
    ] = None,
    target_speedup: Annotated[
        float | None,
        typer.Option(help="instead: so many times faster than the fastest dense torch in fp32"),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(help="instead: several speed-ups, 2,3,4,6, and quality against speed"),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32 or int8")] = "fp32",
    pattern: PatternName = "unstructured",
    method: Annotated[
        str,
        typer.Option(help="obs: what stays makes up for what goes; magnitude: the control"),
    ] = "obs",
    allocation: Annotated[
        str | None,
        typer.Option(
            help="of the budget to layers: loss, the least summed one; global, as magnitude has "
            "it; uniform. Default: global; for a speed-up by obs, loss"
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="layers that stay dense, by name or pattern; may be repeated"),
    ] = None,
    pretrained: Pretrained = None,
    limit: Annotated[int, typer.Option(help="images at most", min=1)] = 128,
    size: Annotated[
        str | None,
        typer.Option(help="pixels to be fast at, S or HxW; default: the model's own"),
    ] = None,
    threads: CostThreads = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help=f"dense contestant, may be repeated: {', '.join(BASELINES)}; all"),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(help="of repair at most: what stays learns the dense encoder's maps", min=0),
    ] = 0.0,
    lr: Annotated[float, typer.Option(help="learning rate of repair")] = 1e-4,
    qat: Annotated[
        bool,
        typer.Option("--qat", help="repair with weights and maps rounded as int8 will"),
    ] = False,
    vocab: Annotated[
        str | None,
        typer.Option(help="classes that both encoders should agree on: 'cat, kitten; dog'"),
    ] = None,
    seed: Annotated[int, typer.Option(help="of pixels that are drawn, and of repair")] = 0,
) -> None:
    """Prune an encoder on a folder of photos, without training, and quantise it.

    Layer by layer, the weights that stay make up for those that go. A killed command goes on where
    it stopped when it is given again. Times are of one image; a tenth of the photos is held out to
    judge by.

    `sparse-ovs compress RN50 --pretrained openai --images photos --target-speedup 4
    --precision int8 --out fast`

    `sparse-ovs compress RN50 --pretrained openai --images photos --sweep 2,3,4,6 --vocab "cat; dog"
    --out sweep`
    """
    targets = [] if sweep is None else _targets(sweep)
    if targets and (density, budget_macs, target_speedup) != (None, None, None):
        raise ValueError("expected --sweep alone, got another budget beside it")
    first = CompressionSettings(
        density,
        budget_macs,
        targets[0] if targets else target_speedup,
        cast(Precision, precision),
        pattern,
        cast(Method, method),
        cast(Allocation | None, allocation),
        tuple(exclude or ()),
        threads,
        tuple(baseline or BASELINES),
        minutes,
        lr,
        seed,
        qat,
        spell=_option,
    )
    settings = [replace(first, target_speedup=each, spell=str) for each in targets] or [first]
    with _bar() as tell:
        tell("create the encoder", 0, 0)
        backbone = create_backbone(model, pretrained)
        transform = backbone.preprocess if size is None else _fitted(parse_size(size))
        photos, skipped = read_photos(
            images, transform, limit, lambda done, of: tell("read photos", done, min(of, limit))
        )
        seen = replace(split_images(photos, backbone), skipped=skipped)
        made = compress_all(backbone, seen, settings, out_folder / "run", vocab, None, tell)
    for name in skipped:
        err.print(f"left out, cannot be read: {name}", style="yellow", markup=False)
    if targets:
        _write_sweep(made, targets, out_folder)
    else:
        written = made[0].save(out_folder)
        _show(made[0])
        err.print("wrote " + ", ".join(map(str, written)))
    if _is_random(backbone):
        out.print("RANDOM WEIGHTS: the masks mean nothing; times do.", style="yellow")


def _option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _targets(text: str) -> list[float]:
    """`2,3,4` -> [2.0, 3.0, 4.0].

    Raises:
        ValueError: anything else.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"expected speed-ups such as 2,3,4,6, got {text!r}") from None


def _fitted(size: tuple[int, int]) -> Callable[[Image.Image], Tensor]:
    """Photos cropped to the size's shape, normalised as CLIP was trained."""

    def pixels(photo: Image.Image) -> Tensor:
        fitted = np.array(ImageOps.fit(photo, (size[1], size[0])))
        values = torch.from_numpy(fitted).float() / 255
        return ((values - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1).contiguous()

    return pixels


@contextmanager
def _bar() -> Iterator[Tell]:
    """A bar on stderr with what is done and the time left; nothing where nobody watches."""
    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=None)
        phase = ""

        def tell(doing: str, done: int, of: int) -> None:
            nonlocal phase
            if (kind := doing.split()[0]) != phase:  # the rate of another phase says nothing
                phase = kind
                bar.reset(task)
            bar.update(task, description=doing, completed=done, total=of or None)

        yield tell


def _show(made: Compressed) -> None:
    report = made.report
    console = wide(out)
    table = Table(title="the layers with the largest errors", title_justify="left")
    table.add_column("layer")
    for name in ("density", "relative error", "ms"):
        table.add_column(name, justify="right")
    for each in sorted(report.layers, key=lambda layer: -layer.error)[:_SHOWN]:
        shown = "" if each.ms is None else f"{each.ms:.3f}"
        table.add_row(each.name, f"{each.density:.3f}", f"{each.error:.4f}", shown)
    console.print(table)
    lines = [report.headline(), *summary_lines(report), *report.notes]
    if report.speed is not None and not report.speed.int8_dense and not installed():
        lines.append(f"dense int8 was not measured: no runtime is installed ({HOW_TO_GET})")
    for line in lines:
        console.print(line, markup=False)


def _write_sweep(made: Sequence[Compressed], targets: Sequence[float], folder: Path) -> None:
    for one, target in zip(made, targets, strict=True):
        one.save(folder / f"{target:g}x")
        out.print(one.report.headline(), markup=False)
    reports = [one.report for one in made]
    picture: str | None = None
    if importlib.util.find_spec("matplotlib") is not None:
        points = [
            (each.speed.speedup.median, each.quality.maps[-1])
            for each in reports
            if each.speed is not None
        ]
        picture = "sweep.svg"
        draw_sweep(points, "cosine of the last map to the dense one", folder / picture)
    replace_file(folder / "report.html", sweep_page(reports, picture).encode())
    told = json.dumps([report.as_json() for report in reports], indent=2) + "\n"
    replace_file(folder / "report.json", told.encode())
    err.print(f"wrote {folder / 'report.html'}, and a folder for each speed-up")


def _is_random(backbone: Backbone) -> bool:
    return IMAGE_ENCODER in backbone.clip.random_parts
