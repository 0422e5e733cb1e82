"""sparse-ovs bench: layers and the whole encoder against dense torch; under load with --streams."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.options import parse_size
from sparse_ovs.compilation import PRECISIONS
from sparse_ovs.formats import replace_file
from sparse_ovs.profiling import BASELINES
from sparse_ovs.profiling.bench import bench_tables, run_bench
from sparse_ovs.profiling.runtimes import INT8_DENSE, installed
from sparse_ovs.profiling.throughput import measure_throughput, throughput_table
from sparse_ovs.quantization import quantize
from sparse_ovs.threads import torch_threads


def bench(
    model: Annotated[str, typer.Argument(help="open_clip model: RN50, ViT-B-16, ...")] = "RN50",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    density: Annotated[float, typer.Option(help="kept fraction of each layer")] = 0.1,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="of masks, may be repeated; default: those of the device's kernels"),
    ] = None,
    arithmetic: Annotated[
        list[str] | None,
        typer.Option(
            help="float16, bfloat16, float32 or tf32, may be repeated; default: all that the "
            "device has kernels for"
        ),
    ] = None,
    size: Annotated[str, typer.Option(help="pixels, S or HxW", metavar="S|HxW")] = "224",
    batch: Annotated[int, typer.Option(help="images at once")] = 1,
    threads: Annotated[
        int | None, typer.Option(help="of a CPU's contestants; default: torch's own choice")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="samples of each contestant: 15, or turns of --streams: 5")
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(
            help="instead: images a second and latencies of the encoder on the CPU, with so many "
            "batches in flight, which share the threads"
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="of each turn, with --streams")] = 2.0,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help=f"of ours with --streams, may be repeated: {', '.join(PRECISIONS)}; default: fp32"
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="densities by layer, with --streams: uniform, trained, or a file")
    ] = "uniform",
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help=f"dense contestant of --streams, may be repeated: {', '.join(BASELINES)}; all"
        ),
    ] = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers", help="with --streams: OpenVINO's dense int8 too, where it is installed"
        ),
    ] = False,
    json_file: Annotated[
        str | None, typer.Option("--json", help="write the record here; - for stdout")
    ] = None,
) -> None:
    """Time every kind of layer of an encoder, and the whole of it, against dense torch.

    On a GPU all contestants run as CUDA graphs in channels_last; torch's own 2:4 product takes part
    where it can.

    `sparse-ovs bench RN50 --device cuda --json results.json`

    `sparse-ovs bench RN50 --streams 2 --batch 4 --precision fp32 --precision int8 --peers`
    """
    if streams is not None:
        patterns = pattern or ["unstructured"]
        if device != "cpu" or len(patterns) > 1 or arithmetic:
            raise ValueError(
                "expected the cpu, one --pattern and no --arithmetic with --streams, got "
                f"{device}, {', '.join(patterns)} and {', '.join(arithmetic or ['none'])}"
            )
        with progress(f"create {model}") as say:
            load = measure_throughput(
                model,
                parse_size(size),
                batch,
                streams,
                threads,
                density,
                patterns[0],
                profile,
                precision or ["fp32"],
                baseline or BASELINES,
                peers=[name for name in installed() if INT8_DENSE[name].build_streams]
                if peers
                else (),
                quantize=quantize,
                seconds=seconds,
                rounds=5 if rounds is None else rounds,
                on_step=say,
            )
        _show(load.to_dict(), [throughput_table(load)], json_file)
        return
    if precision or baseline or peers or profile != "uniform":
        raise ValueError(
            "expected --streams with --precision, --baseline, --peers and --profile, got them alone"
        )
    with progress(f"create {model}") as say, torch_threads(threads):
        made = run_bench(
            model,
            device,
            parse_size(size),
            batch,
            density,
            pattern,
            arithmetic,
            15 if rounds is None else rounds,
            on_step=say,
        )
    _show(made.to_dict(), bench_tables(made), json_file)


def _show(told: dict[str, object], tables: Sequence[Table], json_file: str | None) -> None:
    """As tables; or as JSON, on stdout where the file is "-"."""
    record = json.dumps(told, indent=2) + "\n"
    if json_file == "-":
        sys.stdout.write(record)
        return
    console = wide(out)
    for table in tables:
        console.print(table)
    if json_file is not None:
        replace_file(Path(json_file), record.encode())
        err.print(f"wrote {json_file}")
