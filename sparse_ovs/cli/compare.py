"""sparse-ovs compare: what two encoders see and cost, side by side."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

import sparse_ovs
from sparse_ovs import pruning
from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.backbones.masks import left_out_note
from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.options import CostSize, CostThreads, parse_size
from sparse_ovs.compilation import PRECISIONS
from sparse_ovs.data import ImageFolder
from sparse_ovs.formats import FileFormatError
from sparse_ovs.nn import SparseConv2d, SparseLinear
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling.macs import count_macs
from sparse_ovs.profiling.pictures import draw_densities
from sparse_ovs.profiling.timing import Timings, time_interleaved
from sparse_ovs.pruning.compare import Similarity, compare_features
from sparse_ovs.pruning.embedding import FromClassToken, make_embedding_reader
from sparse_ovs.threads import torch_threads

_RANDOM = "RANDOM WEIGHTS, but for those of a saved encoder: cosines mean nothing, costs do."


@dataclass(frozen=True)
class Cost:
    """What one encoder costs.

    Attributes:
        params: weights and biases that are not zero.
        bytes: of its file, weights packed, in fp32.
        macs: of one forward, by layer.
        densities: of the layers in scope.
        ms: of one forward through the engine, median.
    """

    params: int
    bytes: int
    macs: dict[str, int]
    densities: dict[str, float]
    ms: float
    precision: str


def compare(
    a: Annotated[str, typer.Argument(help="a file of masks or of `save`, or `dense`")],
    b: Annotated[str, typer.Argument(help="the same, compared with A")],
    images: Annotated[Path, typer.Option(help="folder of images, no labels")],
    model: Annotated[str, typer.Option(help="encoder that masks and `dense` are for")] = "RN50",
    pretrained: Annotated[
        str | None, typer.Option(help="its weights: tag (openai) or path; default: random")
    ] = None,
    precision: Annotated[
        tuple[str, str], typer.Option(help="that A and B compute in: fp32, bf16 or int8")
    ] = ("fp32", "fp32"),
    calibrate: Annotated[
        Path | None, typer.Option(help="folder of images for int8's scales; default: the images")
    ] = None,
    limit: Annotated[int, typer.Option(help="images at most", min=1)] = 256,
    batch: Annotated[int, typer.Option(help="images at once", min=1)] = 16,
    size: CostSize = "224",
    threads: CostThreads = None,
    rounds: Annotated[int, typer.Option(help="timed forwards of each", min=1)] = 9,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the record here")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="draw the density of every layer here (.png, .svg)")
    ] = None,
) -> None:
    """Compare two encoders: cosines of their maps and embedding, MACs, bytes, latency.

    `sparse-ovs compare dense m.safetensors --images photos --pretrained openai --picture d.png`

    `sparse-ovs compare m.safetensors m.safetensors --precision fp32 int8 --images photos
    --pretrained openai`
    """
    _check_precision(precision, calibrate)
    height, width = parse_size(size)
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with progress("create encoders") as say:
        encoders = [
            _encoder(which, model, pretrained, each)
            for which, each in zip((a, b), precision, strict=True)
        ]
        first = encoders[0].backbone
        photos = _photos(images, first, limit)
        reader = make_embedding_reader(first)
        narrow = next((each for each in precision if each != "fp32"), None)
        if narrow is not None and isinstance(reader, FromClassToken):
            raise ValueError(
                f"expected an embedding that follows from maps for {narrow}, got {model}"
            )
        with torch_threads(threads):
            say("compile both")
            known = _photos(calibrate or images, first, limit)
            fast = [_compile(encoder, x, threads, known) for encoder in encoders]
        say(f"run {len(photos)} images through both")
        run: list[nn.Module] = [
            encoder.backbone if encoder.precision == "fp32" else compiled
            for encoder, compiled in zip(encoders, fast, strict=True)
        ]
        alike = compare_features(run[0], run[1], DataLoader(photos, batch), reader)
        say("time both")
        with torch_threads(threads):
            timings = time_interleaved({"A": lambda: fast[0](x), "B": lambda: fast[1](x)}, rounds)
            used = torch.get_num_threads()
        costs = [
            _cost(encoder, x, timings.median(name))
            for encoder, name in zip(encoders, ("A", "B"), strict=True)
        ]
    labels = [encoder.label for encoder in encoders]
    console = wide(out)
    console.print(_similarities(alike, first))
    console.print(_layers(labels, costs))
    console.print(_costs(labels, costs, timings, f"{height}x{width}, threads: {used}"))
    if pretrained is None:
        console.print(_RANDOM, style="yellow")
    if json_file is not None:
        record = {"similarity": asdict(alike), "A": asdict(costs[0]), "B": asdict(costs[1])}
        json_file.write_text(json.dumps(record, indent=2) + "\n")
        err.print(f"wrote {json_file}")
    if picture is not None:
        densities = {label: cost.densities for label, cost in zip(labels, costs, strict=True)}
        draw_densities(densities, picture, f"{first.clip.name}: density by layer")
        err.print(f"wrote {picture}")


@dataclass(frozen=True)
class _Encoder:
    """Dense torch modules, with the zeros of a file, and the pattern that these are in."""

    label: str
    backbone: Backbone
    pattern: str
    precision: str


def _check_precision(precision: Sequence[str], calibrate: Path | None) -> None:
    for each in precision:
        if each not in PRECISIONS:
            raise ValueError(f"expected a precision of {', '.join(PRECISIONS)}, got {each!r}")
    if calibrate is not None and "int8" not in precision:
        raise ValueError("expected --calibrate with --precision int8, got it without")


def _photos(folder: Path, backbone: Backbone, limit: int) -> Subset[Tensor]:
    photos = ImageFolder(folder, backbone.preprocess)
    return Subset(photos, range(min(limit, len(photos))))


def _compile(
    encoder: _Encoder, x: Tensor, threads: int | None, photos: Subset[Tensor]
) -> nn.Module:
    scales = None
    if encoder.precision == "int8":
        scales = sparse_ovs.quantize(encoder.backbone, DataLoader(photos))
    return sparse_ovs.compile(
        encoder.backbone, x, threads, precision=encoder.precision, quantization=scales
    )


def _encoder(which: str, model: str, pretrained: str | None, precision: str) -> _Encoder:
    torch.manual_seed(0)  # random weights are the same in both
    backbone = create_backbone(model, pretrained)
    if which == "dense":
        return _Encoder(_label(which, precision), backbone, "unstructured", precision)
    label = _label(Path(which).name, precision)
    try:
        # Into an encoder with its pool, which files of `save` leave out.
        sparse_ovs.load(which, backbone)
    except FileFormatError:
        found = pruning.masks.load(which)
        if found.left_out:
            err.print(left_out_note(found.left_out))
        pruning.masks.apply(backbone, found.masks, found.orders)
        return _Encoder(
            label, backbone, found.info.pattern if found.info else "unstructured", precision
        )
    patterns = [m.pattern for m in backbone.modules() if isinstance(m, SparseConv2d | SparseLinear)]
    sparse_ovs.densify(backbone)
    return _Encoder(label, backbone, patterns[0] if patterns else "unstructured", precision)


def _label(name: str, precision: str) -> str:
    return name if precision == "fp32" else f"{name} in {precision}"


def _cost(encoder: _Encoder, x: Tensor, ms: float) -> Cost:
    backbone = encoder.backbone
    macs = {name: layer.sparse for name, layer in count_macs(backbone, x).items()}
    weights = named_weights(backbone, backbone.scope())
    state = sum(t.numel() * t.element_size() for t in backbone.state_dict().values())
    report = sparse_ovs.sparsify(copy.deepcopy(backbone), encoder.pattern, None)
    saved = sum(layer.bytes_dense - layer.bytes_sparse for layer in report.layers)
    return Cost(
        params=sum(int(torch.count_nonzero(p)) for p in backbone.parameters()),
        bytes=state - saved,
        macs=macs,
        densities={n: int(torch.count_nonzero(w)) / w.numel() for n, w in weights.items()},
        ms=ms,
        precision=encoder.precision,
    )


def _similarities(alike: Similarity, first: Backbone) -> Table:
    table = Table(title=f"cosines, mean of {alike.images} images", title_justify="left")
    for name in (*first.feature_info.module_name(), "embedding"):
        table.add_column(name, justify="right")
    table.add_row(*(f"{value:.4f}" for value in (*alike.maps, alike.embedding)))
    return table


def _costs(labels: Sequence[str], costs: Sequence[Cost], timings: Timings, where: str) -> Table:
    table = Table(title=f"cost, {where}", title_justify="left")
    table.add_column("")
    for name in ("parameters", "MB", "GMAC", "ms", "A / B"):
        table.add_column(name, justify="right")
    for label, cost, ratio in zip(labels, costs, ("", str(timings.ratio("A", "B"))), strict=True):
        table.add_row(
            label,
            f"{cost.params:,}",
            f"{cost.bytes / 1e6:.1f}",
            f"{sum(cost.macs.values()) / 1e9:.3f}",
            f"{cost.ms:.1f}",
            ratio,
        )
    return table


def _layers(labels: Sequence[str], costs: Sequence[Cost]) -> Table:
    table = Table(title="layer by layer", title_justify="left")
    table.add_column("layer")
    for label in labels:
        table.add_column(f"{label}: density", justify="right")
        table.add_column("MMAC", justify="right")
    for name in costs[0].macs:
        cells = []
        for cost in costs:
            density = cost.densities.get(name)
            cells += ["" if density is None else f"{density:.4f}", f"{cost.macs[name] / 1e6:.1f}"]
        table.add_row(name, *cells)
    return table
