"""What a benchmark says: rows of layers and encoders, and the machine they are of."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from sparse_ovs.profiling.devices import device_name
from sparse_ovs.version import __version__

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One comparison of a sparse layer or encoder with what dense torch offers.

    Attributes:
        subject: a layer's name, or "encoder".
        shape: of the layer's weight; empty for the encoder.
        input_shape: of its input.
        pattern, density: of the mask; density is what it came to.
        arithmetic: "float16", "bfloat16", "float32", or "tf32": float32 cut to TF32.
        backend: what ran the sparse layer; for an encoder, how many of its layers ran what.
        dense_ms: medians by contestant; null where one could not run.
        sparse_ms: median of ours; null where it could not run.
        best: the fastest dense contestant.
        speedup: (median, lower quartile, upper quartile) over the rounds of best / ours.
        max_rel_err: largest |ours - dense| over the largest |dense|, dense in float32 without TF32.
        problems: what could not run, and why, by contestant.
    """

    subject: str
    shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    pattern: str
    density: float
    arithmetic: str
    backend: str
    dense_ms: dict[str, float | None]
    sparse_ms: float | None
    best: str | None
    speedup: tuple[float, float, float] | None
    max_rel_err: float | None
    problems: dict[str, str]


@dataclass(frozen=True)
class Bench:
    """All rows of one run."""

    model: str
    size: tuple[int, int]
    batch: int
    density: float
    rounds: int
    device: str
    machine: dict[str, str]
    rows: Sequence[Row]

    def to_dict(self) -> dict[str, object]:
        """Plain types only, ready for json.dumps."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}


def describe_machine(device: torch.device) -> dict[str, str]:
    """Device and versions, by name."""
    found = {
        "device": device_name(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sparse_ovs": __version__,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["compute capability"] = f"{properties.major}.{properties.minor}"
        found["multiprocessors"] = str(properties.multi_processor_count)
        found["memory"] = f"{properties.total_memory / 2**30:.1f} GiB"
        found["CUDA"] = str(torch.version.cuda)
        found["cuDNN"] = str(torch.backends.cudnn.version())
        found["triton"] = _version("triton")
    else:
        found["threads"] = str(torch.get_num_threads())
    return found


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
