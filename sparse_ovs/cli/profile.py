"""sparse-ovs profile: how fast a pruned encoder runs, against the best that dense torch offers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.latency import show_latency
from sparse_ovs.cli.options import HeadSizes, ModelName, PatternName, Pretrained, parse_size
from sparse_ovs.cli.photos import photo_batches
from sparse_ovs.compilation import PRECISIONS
from sparse_ovs.profiling import (
    BASELINES,
    error_line,
    int8_dense_line,
    profile_encoder,
    profile_tables,
    write_html,
)
from sparse_ovs.profiling.runtimes import installed
from sparse_ovs.quantization import quantize
from sparse_ovs.segmenter.latency import VOC, profile_head


def parse_density(text: str) -> float | str:
    """A number, or "weights".

    Raises:
        ValueError: anything else.
    """
    if text == "weights":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a density or 'weights', got {text!r}") from None


def profile(
    model: ModelName,
    density: Annotated[
        str, typer.Option(help="kept fraction of the weights, or `weights`: the zeros they have")
    ] = "0.1",
    pattern: PatternName = "unstructured",
    size: Annotated[str, typer.Option(help="pixels, S or HxW", metavar="S|HxW")] = "224",
    batch: Annotated[int, typer.Option(help="images at once")] = 1,
    threads: Annotated[
        int | None, typer.Option(help="of torch and of ours; default: torch's own choice")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="plan: the whole encoder compiled (default on the CPU); modules: swapped modules "
            "with BatchNorm folded (what there is on a GPU)"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    pretrained: Pretrained = None,
    profile: Annotated[
        str,
        typer.Option(
            help="densities by layer: uniform, trained (a really trained ResNet-50 at 0.05, 0.1, "
            "0.2 or 0.3), or a JSON file"
        ),
    ] = "uniform",
    precision: Annotated[
        str,
        typer.Option(help="fp32, or bf16 or int8: the plan in that, and the one in fp32 beside it"),
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="photos to calibrate int8 on, and to time; default: smooth noise",
        ),
    ] = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers",
            help="the dense encoder in int8 too, by OpenVINO and ONNX Runtime where they are "
            "installed; a minute or more",
        ),
    ] = False,
    rounds: Annotated[int, typer.Option(help="samples of each contestant")] = 7,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="dense contestant, may be repeated: eager, channels_last, compiled, frozen; "
            "default: all of them"
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="time a whole segmenter with this head, stage by stage: maskclip, ..."),
    ] = None,
    head_sizes: HeadSizes = None,
    vocab: Annotated[
        str | None, typer.Option(help="of the segmenter: 'cat, kitten; dog'; default: VOC's 20")
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="write the record here; - for stdout")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="write a page with tables and bars here")
    ] = None,
) -> None:
    """Time an encoder's trunk, pruned and dense, side by side; with --head a whole segmenter.

    Dense torch runs eager, in channels_last, compiled, and compiled with freezing, on the same
    zeros; the fastest of them is the baseline of the speed-up. All contestants take turns.

    `sparse-ovs profile RN50 --density 0.1 --size 640 --threads 1`

    `sparse-ovs profile RN50 --profile trained --pattern block4x1 --html report.html`

    `sparse-ovs profile RN50 --precision int8 --peers --size 640 --threads 1`

    `sparse-ovs profile RN50 --head maskclip --size 640 --vocab "cat, kitten; dog"`
    """
    height_width, kept = parse_size(size), parse_density(density)
    if head is not None:
        for option, given in (
            ("--html", html_file),
            ("--mode modules", mode == "modules"),
            (f"--precision {precision}", precision != "fp32"),
            ("--calibrate", calibrate),
            ("--peers", peers),
        ):
            if given:
                raise ValueError(f"expected no {option} with --head, got it")
        if batch != 1 or device != "cpu":
            raise ValueError(
                f"expected batch 1 on the cpu with --head, got batch {batch} on {device}"
            )
        with progress(f"create {model}") as say:
            timed = profile_head(
                head,
                model,
                kept,
                pattern,
                height_width,
                threads,
                pretrained,
                profile,
                vocab or VOC,
                baselines=baseline or BASELINES,
                rounds=rounds,
                head_sizes=head_sizes,
                on_step=say,
            )
        show_latency(timed, json_file)
        return
    for option, of_heads in (("--vocab", vocab), ("--head-sizes", head_sizes)):
        if of_heads is not None:
            raise ValueError(f"expected {option} with --head, got it alone")
    if precision not in PRECISIONS:
        raise ValueError(f"expected precision {', '.join(PRECISIONS)}, got {precision!r}")
    in_int8 = precision == "int8"
    if calibrate is not None and not in_int8 and not peers:
        raise ValueError("expected --calibrate with --precision int8 or --peers, got it alone")
    with progress(f"create {model}") as say:
        made = profile_encoder(
            model,
            kept,
            pattern,
            height_width,
            batch,
            threads,
            mode,
            pretrained,
            profile,
            baseline or BASELINES,
            rounds,
            device,
            on_step=say,
            quantize=quantize if in_int8 else None,
            int8_dense=installed() if peers else (),
            images=None if calibrate is None else photo_batches(calibrate, height_width, batch),
            bf16=precision == "bf16",
        )
    record = json.dumps(made.to_dict(), indent=2)
    if json_file == "-":
        sys.stdout.write(record + "\n")
    else:
        console = wide(out)
        for table in profile_tables(made):
            console.print(table)
        console.print(error_line(made))
        if device == "cpu":
            console.print(int8_dense_line(made, peers))
        if json_file is not None:
            Path(json_file).write_text(record + "\n")
            err.print(f"wrote {json_file}")
    if html_file is not None:
        write_html(made, html_file)
        err.print(f"wrote {html_file}")
