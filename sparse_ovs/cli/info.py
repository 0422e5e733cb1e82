"""sparse-ovs info: what runs on this machine, and why the rest does not."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import torch
import typer
from rich.table import Table

import sparse_ovs
from sparse_ovs import _native
from sparse_ovs._cuda import unavailable_reason as nvrtc_unavailable
from sparse_ovs.cli.console import out, wide
from sparse_ovs.cli.kernel_table import explanation, kernel_table
from sparse_ovs.kernel_evidence import kernel_evidence
from sparse_ovs.kernels import unavailable_reason as triton_unavailable


def info(
    kernels: Annotated[
        bool, typer.Option("--kernels", help="What the tests have shown of each GPU kernel.")
    ] = False,
) -> None:
    """Say versions, instruction set, threads, GPU, and which kernels are available or why not."""
    if kernels:
        record = kernel_evidence()
        wide(out).print(kernel_table(record))
        for line in ["", *explanation(record)]:
            out.print(line, highlight=False, markup=False)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, text in facts().items():
        table.add_row(name, text)
    wide(out).print(table)


def facts() -> dict[str, str]:
    """What `info` prints, by name."""
    reason = _native.unavailable_reason()
    if reason:
        isa = f"none: {reason}"
        cpu_kernels = f"not available: {reason}"
    else:
        isa = f"{_native.isa()} (this CPU and build have {', '.join(_native.available_isas())})"
        cpu_kernels = "sparse conv2d and linear, unstructured and block4x1, fp32: available"
    return {
        "sparse_ovs": sparse_ovs.__version__,
        "CPU": _native.cpu_name(),
        "ISA": isa,
        "threads": f"{sparse_ovs.get_num_threads()} (torch: {torch.get_num_threads()})",
        "torch": torch.__version__,
        "open_clip": _version("open_clip_torch"),
        "timm": _version("timm"),
        "CUDA": _cuda(),
        "Triton": _version("triton") if importlib.util.find_spec("triton") else "not installed",
        "CPU kernels": cpu_kernels,
        "GPU kernels": _gpu_kernels(),
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _gpu_kernels() -> str:
    reasons = [reason for reason in (triton_unavailable(), nvrtc_unavailable()) if reason]
    if reasons:
        return f"not available: {'; '.join(reasons)}"
    return "blocks, 2:4 with a residue, single weights; never run on a GPU (info --kernels)"


def _cuda() -> str:
    if torch.version.cuda is None:
        return "not in this build of torch"
    if not torch.cuda.is_available():
        return f"{torch.version.cuda} in torch, no usable GPU"
    return f"{torch.version.cuda}, {torch.cuda.get_device_name()}"
