"""sparse-ovs eval: scores a segmenter on a labelled dataset, the protocol beside the scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table

from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.options import HeadSizes, PatternName, Pretrained
from sparse_ovs.cli.segmenters import given, make_segmenter
from sparse_ovs.data import open_dataset
from sparse_ovs.evaluation import (
    VARIANTS,
    Accelerated,
    Evaluation,
    evaluate,
    launched,
    seen_classes,
)
from sparse_ovs.formats.files import replace_file


def evaluate_command(
    head: Annotated[
        str | None,
        typer.Option(help="maskclip, deeplabv3plus, ...; default: maskclip, or the checkpoint's"),
    ] = None,
    head_sizes: HeadSizes = None,
    data: Annotated[
        Path | None,
        typer.Option(help="folder of the datasets; default: $DETECTRON2_DATASETS, else ./datasets"),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="ade150, ade847, voc20, voc21, voc20b, pc59, cityscapes19, ...")
    ] = "ade150",
    split: Annotated[str, typer.Option(help="val or train")] = "val",
    checkpoint: Annotated[
        Path | None, typer.Option(help="file or folder of Segmenter.save_pretrained")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="open_clip model; default: RN50")] = None,
    pretrained: Pretrained = None,
    density: Annotated[float | None, typer.Option(help="kept fraction of the encoder")] = None,
    pattern: PatternName = "unstructured",
    mask: Annotated[Path | None, typer.Option(help="file of masks, instead of a density")] = None,
    size: Annotated[int | None, typer.Option(help="shorter side that the encoder sees")] = None,
    longest: Annotated[int | None, typer.Option(help="longer side at most")] = None,
    mask_order: Annotated[
        str | None,
        typer.Option(help="how masks become scores: original, image or cheap (docs/segment.md)"),
    ] = None,
    templates: Annotated[str | None, typer.Option(help="of prompts: bare, vild, imagenet")] = None,
    fast: Annotated[bool, typer.Option(help="compile the encoder")] = False,
    variant: Annotated[
        str, typer.Option(help="of mIoU: detectron2 (labelled classes) or mmseg (predicted too)")
    ] = "detectron2",
    seen: Annotated[
        Path | None,
        typer.Option(help="names that were trained on, one class a line: splits the mean"),
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="other names for the same classes, one class a line")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="of ids and names, for ade847 (docs/data.md)")
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="folder: the class in names.txt that means none of them")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="score the first images alone")] = None,
    unfinished: Annotated[
        Path | None,
        typer.Option(help="keep counts in this file: a killed run, started again, goes on"),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="write the record here; - for stdout")
    ] = None,
) -> None:
    """Score a segmenter: mIoU, accuracies, and the whole protocol beside them.

    `sparse-ovs eval --head maskclip --pretrained openai --data datasets --dataset voc20`

    In several processes: `accelerate launch -m sparse_ovs.cli eval ...` on GPUs, `torchrun
    --nproc-per-node 2 -m sparse_ovs.cli eval ...` on CPUs.
    """
    if variant not in VARIANTS:
        raise ValueError(f"expected variant {' or '.join(VARIANTS)}, got {variant!r}")
    processes = launched()
    own = {"table": table, "background": background}
    labelled = open_dataset(dataset, data, split, names=names, **given(own))
    trained = None if seen is None else seen_classes(labelled.classes, _read_names(seen))
    settings = {
        "pattern": pattern,
        "mask": mask,
        "fast": fast,
        "head_sizes": head_sizes,
        "size": size,
        "longest": longest,
        "mask_order": mask_order,
        "templates": templates,
    }
    torch.manual_seed(0)  # random weights, where there are any, are the same in every process
    segmenter = make_segmenter(head, backbone, pretrained, checkpoint, density, settings)
    if isinstance(processes, Accelerated):
        segmenter.to(processes.device)
    with progress("embed the vocabulary") as say:
        made = evaluate(
            segmenter,
            labelled,
            variant,
            seen=trained,
            limit=limit,
            split=split,
            processes=processes,
            unfinished=unfinished,
            on_image=lambda done, of: say(f"{dataset}: image {done} of {of}"),
        )
    if processes.index == 0:
        _show(made, json_file)


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a file of names, got {path}: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"expected names, one class a line, got none in {path}")
    return names


def _show(made: Evaluation, json_file: str | None) -> None:
    record = json.dumps(made.to_dict(), indent=2, allow_nan=False) + "\n"
    if json_file == "-":
        sys.stdout.write(record)
        return
    console = wide(out)
    console.print(_table(_protocol_rows(made)))
    if made.protocol.random_weights:
        parts = ", ".join(made.protocol.random_weights)
        console.print(
            f"\n[bold]RANDOM WEIGHTS[/bold] ({parts}): these scores say nothing about the method"
        )
    console.print()
    console.print(_table(_score_rows(made)))
    if json_file is not None:
        replace_file(json_file, record.encode())
        err.print(f"wrote {json_file}")


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, text in rows:
        table.add_row(name, text)
    return table


def _protocol_rows(made: Evaluation) -> list[tuple[str, str]]:
    protocol = made.protocol
    images = f"{protocol.images} of {protocol.images_in_split}"
    rows = [
        ("dataset", f"{protocol.dataset}, {protocol.split}: {images} images"),
        ("classes", f"{protocol.classes}, asked for by {protocol.names_asked} names"),
        ("mIoU", f"as {protocol.variant}: {_OVER[protocol.variant]}"),
        ("background", protocol.background),
        ("ignored", protocol.ignore),
        ("scored at", protocol.scored_at),
    ]
    rows += [(f"segmenter's {key}", _text(value)) for key, value in protocol.segmenter.items()]
    if protocol.random_weights is not None:
        rows.append(("random weights", ", ".join(protocol.random_weights) or "none"))
    return [*rows, ("processes", str(protocol.processes))]


_OVER = {
    "detectron2": "the mean over classes that are labelled somewhere",
    "mmseg": "the mean over classes that are labelled or predicted somewhere",
}


def _score_rows(made: Evaluation) -> list[tuple[str, str]]:
    found = made.scores
    rows = [
        ("mIoU", f"{_percent(found.miou)} over {found.counted} of {made.protocol.classes} classes"),
        ("frequency-weighted IoU", _percent(found.fwiou)),
        ("mean class accuracy", _percent(found.macc)),
        ("pixel accuracy", _percent(found.pacc)),
    ]
    if found.seen is not None and found.unseen is not None and found.harmonic is not None:
        rows += [
            ("mIoU of seen classes", _percent(found.seen)),
            ("mIoU of unseen classes", _percent(found.unseen)),
            ("harmonic mean of both", _percent(found.harmonic)),
        ]
    return rows


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
