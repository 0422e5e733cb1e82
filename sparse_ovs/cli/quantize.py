"""sparse-ovs quantize: scales for int8 from a folder of images, and what int8 costs each layer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Subset

import sparse_ovs
from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.backbones.weights import IMAGE_ENCODER
from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.options import ModelName, PatternName, Pretrained
from sparse_ovs.data import ImageFolder
from sparse_ovs.quantization import LayerError, layer_errors

_SHOWN = 10  # layers
_JUDGED = 16  # images that errors are measured on, at most


def quantize(
    model: ModelName,
    images: Annotated[Path, typer.Option(help="folder of images, no labels")],
    out_file: Annotated[
        Path, typer.Option("--out", help="the file of scales", dir_okay=False)
    ] = Path("quantization.safetensors"),
    pretrained: Pretrained = None,
    density: Annotated[
        float | None, typer.Option(help="kept fraction of the encoder; default: dense")
    ] = None,
    pattern: PatternName = "unstructured",
    mask: Annotated[Path | None, typer.Option(help="file of masks, instead of a density")] = None,
    percentile: Annotated[
        float | None,
        typer.Option(help="of a map's numbers that its scale covers, 99.99; default: all"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="layers that stay in fp32, by name or pattern; may be repeated"),
    ] = None,
    limit: Annotated[int, typer.Option(help="images at most", min=1)] = 64,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write the errors of all layers here")
    ] = None,
) -> None:
    """Take the scales of an encoder in int8 from images, and tell the error that each layer adds.

    The file goes into `sparse_ovs.load_quantization`, for `sparse_ovs.compile(model, x,
    precision="int8", quantization=...)`, and into `sparse-ovs segment --calibrate`.

    `sparse-ovs quantize RN50 --pretrained openai --images photos --out q.safetensors`

    `sparse-ovs quantize RN50 --pretrained openai --mask m.safetensors --images photos
    --exclude "layer4.*" --percentile 99.99`
    """
    with progress("create the encoder"):
        backbone = create_backbone(model, pretrained, density, pattern, mask)
        photos = ImageFolder(images, backbone.preprocess)
    made = sparse_ovs.quantize(
        backbone, _batches(photos, limit, "observe maps"), percentile, exclude or ()
    )
    judged = _batches(photos, min(limit, _JUDGED), "measure errors")
    errors = layer_errors(backbone, judged, made)
    made.save(out_file)
    console = wide(out)
    console.print(_table(errors))
    for line in _remarks(errors):
        console.print(line)
    if _is_random(backbone):
        console.print("RANDOM WEIGHTS: the scales fit no other weights", style="yellow")
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(each) for each in errors], indent=2) + "\n")
    err.print("wrote " + ", ".join(str(p) for p in (out_file, json_file) if p is not None))


def _batches(photos: ImageFolder, limit: int, doing: str) -> Iterable[Tensor]:
    """The first images one by one, with a bar on stderr."""
    some = range(min(limit, len(photos)))
    loader = DataLoader(Subset(photos, some))
    hidden = not err.is_terminal
    return track(loader, doing, console=err, transient=True, disable=hidden)


def _is_random(backbone: Backbone) -> bool:
    return IMAGE_ENCODER in backbone.clip.random_parts


def _table(errors: Sequence[LayerError]) -> Table:
    coded = sorted((e for e in errors if not e.reason), key=lambda each: -each.alone)
    table = Table(
        title="relative errors of maps against fp32, the worst first", title_justify="left"
    )
    table.add_column("layer")
    for name in ("this layer alone in int8", "all layers in int8"):
        table.add_column(name, justify="right")
    for each in coded[:_SHOWN]:
        table.add_row(each.layer, f"{each.alone:.4f}", f"{each.whole:.4f}")
    return table


def _remarks(errors: Sequence[LayerError]) -> list[str]:
    kept = [each for each in errors if each.reason]
    reasons = dict.fromkeys(each.reason for each in kept)
    told = f", {len(kept)} stay in fp32: {'; '.join(reasons)}" if kept else ""
    lines = [f"{len(errors) - len(kept)} of {len(errors)} layers compute in int8{told}"]
    if errors:
        lines.append(f"error after the last one, {errors[-1].layer}: {errors[-1].whole:.4f}")
    return lines
