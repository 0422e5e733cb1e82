"""Loads an encoder with streams of batches: ours, dense torch, and dense int8 where it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from sparse_ovs.compilation import compile
from sparse_ovs.engine import Quantization
from sparse_ovs.profiling.baselines import BASELINES, build_baselines
from sparse_ovs.profiling.bench.record import describe_machine
from sparse_ovs.profiling.failures import in_a_line
from sparse_ovs.profiling.images import smooth_images
from sparse_ovs.profiling.pair import EncoderPair, make_pair
from sparse_ovs.profiling.runtimes import INT8_DENSE
from sparse_ovs.profiling.throughput.record import Throughput, make_rows
from sparse_ovs.profiling.throughput.streams import Load, Streams
from sparse_ovs.profiling.timing import turned
from sparse_ovs.threads import torch_threads

Run = Callable[[], object]
Quantize = Callable[[nn.Module, Sequence[Tensor]], Quantization]
_CALIBRATION = 4  # batches that int8's scales are taken from


def measure_throughput(
    model: str = "RN50",
    size: tuple[int, int] = (224, 224),
    batch: int = 1,
    streams: int = 1,
    threads: int | None = None,
    density: float = 0.1,
    pattern: str = "unstructured",
    profile: str = "uniform",
    precisions: Sequence[str] = ("fp32",),
    baselines: Sequence[str] = BASELINES,
    peers: Sequence[str] = (),
    quantize: Quantize | None = None,
    seconds: float = 2.0,
    rounds: int = 5,
    on_step: Callable[[str], None] = lambda text: None,
) -> Throughput:
    """Images a second and latencies of a pruned encoder on the CPU with random weights, and of
    dense torch on the same zeros; contestants take turns of some seconds.

    Args:
        model: an open_clip model.
        size: (H, W) in pixels.
        batch: images of a call.
        streams: calls at once.
        threads: of all streams together, shared out evenly; None takes torch's setting.
        density, pattern, profile: see make_pair.
        precisions: of ours, see compile.
        baselines: dense contestants, some of BASELINES.
        peers: runtimes for the dense encoder in int8, those of runtimes.INT8_DENSE that offer
            streams.
        quantize: sparse_ovs.quantize, which int8 needs.
        seconds: of a turn.
        rounds: turns of each contestant.
        on_step: called with a line of text when a step begins.

    Raises:
        ValueError: an argument out of range.
        RuntimeError: no dense baseline could be built, or the native library is missing.
    """
    for name, value in (("batch", batch), ("streams", streams), ("rounds", rounds)):
        if value < 1:
            raise ValueError(f"expected {name} of at least 1, got {value}")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"expected turns of more than 0 seconds, got {seconds}")
    able = [name for name, each in INT8_DENSE.items() if each.build_streams is not None]
    for name in set(peers) - set(able):
        raise ValueError(f"expected runtimes of {', '.join(able)}, got {name!r}")
    threads = torch.get_num_threads() if threads is None else threads
    if threads < streams:
        raise ValueError(f"expected a thread for each of {streams} streams, got {threads}")
    each = threads // streams
    images = [smooth_images(batch, size, seed) for seed in range(_CALIBRATION)]
    on_step(f"create {model}")
    pair = make_pair(model, images[0], density, pattern, None, profile)
    with torch_threads(each), torch.no_grad(), ExitStack() as stack:
        ours = _ours(pair, images, precisions, quantize, each, on_step)
        dense, problems = _dense(pair, images[0], baselines, on_step)
        others = _int8_dense(pair, images, peers, threads, streams, problems, on_step)
        shared = {**dense, **ours}
        runs = {name: [run] * streams for name, run in shared.items()} | others
        contestants = {name: stack.enter_context(Streams(each)) for name, each in runs.items()}
        loads: dict[str, list[Load]] = {name: [] for name in contestants}
        for number in range(rounds):
            for name in turned(list(contestants), number):
                on_step(f"round {number + 1} of {rounds}: {name}")
                loads[name].append(contestants[name].load(seconds))
        machine = describe_machine(torch.device("cpu"))
    return Throughput(
        model,
        size,
        batch,
        streams,
        each,
        seconds,
        rounds,
        density,
        pattern,
        profile,
        machine,
        make_rows(loads, batch, list(dense), problems),
    )


def _ours(
    pair: EncoderPair,
    images: Sequence[Tensor],
    precisions: Sequence[str],
    quantize: Quantize | None,
    threads: int,
    on_step: Callable[[str], None],
) -> dict[str, Run]:
    x = images[0]
    made: dict[str, Run] = {}
    for precision in precisions:
        on_step(f"compile {precision}")
        quantization = None
        if precision == "int8" and quantize is not None:
            quantization = quantize(pair.dense, images)
        fast = compile(pair.sparse, x, threads, precision=precision, quantization=quantization)
        made[f"sparse {precision}"] = lambda fast=fast: fast(x)  # type: ignore[misc]
    return made


def _dense(
    pair: EncoderPair, x: Tensor, names: Sequence[str], on_step: Callable[[str], None]
) -> tuple[dict[str, Run], dict[str, str]]:
    """Runs, and why others could not be built."""
    built = build_baselines(pair.dense, x, names, lambda name: on_step(f"build dense {name}"))
    return dict(built.at_least_one()), dict(built.failures)


def _int8_dense(
    pair: EncoderPair,
    images: Sequence[Tensor],
    names: Sequence[str],
    threads: int,
    streams: int,
    problems: dict[str, str],
    on_step: Callable[[str], None],
) -> dict[str, list[Run]]:
    made: dict[str, list[Run]] = {}
    batches = [image.numpy() for image in images]
    for name in names:
        on_step(f"build {INT8_DENSE[name].label}")
        build = INT8_DENSE[name].build_streams
        assert build is not None
        try:
            made[name] = list(build(pair.dense, images[0], batches, threads, streams))
        except Exception as error:  # an exporter or a quantiser may fail in any way
            problems[name] = in_a_line(error)
    return made
