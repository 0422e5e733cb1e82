"""sparse-ovs bench: layers and the whole encoder, sparse against dense torch, on CPU or GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.options import parse_size
from sparse_ovs.formats import replace_file
from sparse_ovs.profiling.bench import bench_tables, run_bench
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
    rounds: Annotated[int, typer.Option(help="samples of each contestant")] = 15,
    json_file: Annotated[
        str | None, typer.Option("--json", help="write the record here; - for stdout")
    ] = None,
) -> None:
    """Time every kind of layer of an encoder, and the whole of it, against dense torch.

    On a GPU all contestants run as CUDA graphs in channels_last; torch's own 2:4 product takes part
    where it can.

    `sparse-ovs bench RN50 --device cuda --json results.json`
    """
    with progress(f"create {model}") as say, torch_threads(threads):
        made = run_bench(
            model,
            device,
            parse_size(size),
            batch,
            density,
            pattern,
            arithmetic,
            rounds,
            on_step=say,
        )
    record = json.dumps(made.to_dict(), indent=2) + "\n"
    if json_file == "-":
        sys.stdout.write(record)
        return
    console = wide(out)
    for table in bench_tables(made):
        console.print(table)
    if json_file is not None:
        replace_file(Path(json_file), record.encode())
        err.print(f"wrote {json_file}")
