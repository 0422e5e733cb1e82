"""Profiles one encoder: sparse against every dense baseline, checked, timed and broken down."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from sparse_ovs import _native
from sparse_ovs.engine import Quantization
from sparse_ovs.nn import LayerReport, SparsifyReport
from sparse_ovs.profiling.baselines import BASELINES, build_baselines
from sparse_ovs.profiling.contestants import LAYER_ROUNDS, precision_of, swapped_modules, whole_plan
from sparse_ovs.profiling.devices import clock_of, device_name, find_device
from sparse_ovs.profiling.errors import map_errors
from sparse_ovs.profiling.images import smooth_images
from sparse_ovs.profiling.int8_peers import build_int8_dense
from sparse_ovs.profiling.layer_times import stage_of, time_layers
from sparse_ovs.profiling.macs import LayerMacs, count_macs, layer_density, weighted_layers
from sparse_ovs.profiling.pair import EncoderPair, make_pair
from sparse_ovs.profiling.record import Extras, LayerRow, Profile, StageTimes
from sparse_ovs.profiling.timing import time_interleaved
from sparse_ovs.threads import torch_threads

MODES = ("plan", "modules")
# Images of our own making: one that is timed, the others calibrate int8.
_IMAGES = 5


def profile_encoder(
    model: str,
    density: float | str = 0.1,
    pattern: str = "unstructured",
    size: tuple[int, int] = (224, 224),
    batch: int = 1,
    threads: int | None = None,
    mode: str | None = None,
    pretrained: str | os.PathLike[str] | None = None,
    profile: str | os.PathLike[str] = "uniform",
    baselines: Sequence[str] = BASELINES,
    rounds: int = 7,
    device: str = "cpu",
    on_step: Callable[[str], None] = lambda text: None,
    quantize: Callable[[nn.Module, Sequence[Tensor]], Quantization] | None = None,
    int8_dense: Sequence[str] = (),
    images: Sequence[Tensor] | None = None,
    bf16: bool = False,
) -> Profile:
    """Times the trunk of an encoder, sparse and dense, in alternation, on random pixels.

    Args:
        model, density, pattern, pretrained, profile: see make_pair.
        size: (H, W) in pixels.
        batch: images.
        threads, mode, baselines, rounds, on_step: see profile_pair.
        device: "cpu", "cuda" or "cuda:N"; a GPU has swapped modules, no plan, in channels_last.
        quantize: sparse_ovs.quantize, for ours in int8; None: in fp32, or bf16 where that is asked.
        int8_dense: see profile_pair.
        images: batches (N, 3, H, W) of `batch` and `size`. The first is what all are timed on, the
            others calibrate int8, as the first does where it is alone; None takes smooth noise
            where something runs in int8, white noise elsewhere.
        bf16: see profile_pair.

    Raises:
        ValueError, TypeError, FileNotFoundError, PretrainedUnavailable: an argument out of range.
        RuntimeError: no dense baseline could be built, the native library is missing, or the
            device.
    """
    place = find_device(device)
    for name, value in (("height", size[0]), ("width", size[1]), ("batch", batch)):
        if value < 1:
            raise ValueError(f"expected a {name} of at least 1, got {value}")
    _check(threads, mode or MODES[0], rounds)
    on_step(f"create {model}")
    if images is None and (quantize is not None or int8_dense):
        images = [smooth_images(batch, size, seed) for seed in range(_IMAGES)]
    if images is None:
        # The same on every machine, whatever was drawn before.
        images = [torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))]
    x, calibration = images[0], images[1:] or images
    pair = make_pair(model, x, density, pattern, pretrained, profile)
    if place.type == "cuda":
        pair = pair.to(place)
        x = x.to(place, memory_format=torch.channels_last)
    quantization = None
    if quantize is not None:
        on_step("calibrate int8")
        quantization = quantize(pair.dense, calibration)
    return profile_pair(
        pair,
        x,
        threads,
        mode,
        baselines,
        rounds,
        on_step,
        quantization,
        int8_dense,
        calibration,
        bf16,
    )


def profile_pair(
    pair: EncoderPair,
    x: Tensor,
    threads: int | None = None,
    mode: str | None = None,
    baselines: Sequence[str] = BASELINES,
    rounds: int = 7,
    on_step: Callable[[str], None] = lambda text: None,
    quantization: Quantization | None = None,
    int8_dense: Sequence[str] = (),
    calibration: Sequence[Tensor] = (),
    bf16: bool = False,
) -> Profile:
    """Times a sparse encoder and its dense twin in alternation.

    Args:
        pair: see make_pair.
        x: (N, 3, H, W), the input.
        threads: of torch and of ours; None takes torch's setting.
        mode: "plan", the compiled encoder; or "modules", the swapped modules with BatchNorm folded,
            those that are faster dense made dense: that changes pair.sparse. None takes the plan
            on the CPU, modules on a GPU, for which there is no plan.
        baselines: dense contestants, some of BASELINES.
        rounds: samples of each contestant.
        on_step: called with a line of text when a step begins.
        quantization: of the encoder: the plan runs in int8, and the one in fp32 beside it.
        int8_dense: runtimes that run the dense encoder in int8, some of runtimes.INT8_DENSE.
        calibration: batches like x that these are calibrated on.
        bf16: without a quantization, the plan runs in bf16, and the one in fp32 beside it.

    Raises:
        ValueError: an argument out of range.
        RuntimeError: no dense baseline could be built, or the native library is missing.
    """
    on_cpu = x.device.type == "cpu"
    mode = mode or ("plan" if on_cpu else "modules")
    _check(threads, mode, rounds)
    if mode == "plan" and not on_cpu:
        raise ValueError(f"expected mode 'modules' on {x.device}, got 'plan', which runs on CPUs")
    if mode != "plan" and (quantization is not None or int8_dense or bf16):
        narrow = "bf16" if bf16 else "int8"
        raise ValueError(
            f"expected mode 'plan' on the cpu with {narrow}, got {mode!r} on {x.device}"
        )
    precision = precision_of(quantization, bf16)
    isa = _native.isa() if on_cpu else "CUDA"
    clock = clock_of(x.device)
    dense = pair.dense
    with torch_threads(threads):
        on_step("compile" if mode == "plan" else "time layers to choose their backends")
        if mode == "plan":
            ours = whole_plan(pair, x, quantization, bf16)
        else:
            ours = swapped_modules(pair, x)
        in_fp32 = None if precision == "fp32" else whole_plan(pair, x)
        built = build_baselines(dense, x, baselines, lambda name: on_step(f"build dense {name}"))
        built.at_least_one()

        used_threads = torch.get_num_threads()
        others = build_int8_dense(
            dense, x, int8_dense, calibration, used_threads, lambda name: on_step(f"build {name}")
        )

        with torch.no_grad():
            maps, reference = ours.run(), dense(x)
        error = max_relative_error(maps, reference)
        errors = map_errors(_arrays(maps), _arrays(reference))
        beside = {} if in_fp32 is None else {"sparse fp32": in_fp32.run}
        timings = time_interleaved(
            {**built.runs, **others.runs, **beside, "sparse": ours.run},
            rounds,
            lambda done: on_step(f"time {rounds} rounds: {done} done"),
            clock,
        )
        on_step("time layers")
        dense_layers = time_layers(dense, x, LAYER_ROUNDS, clock)
        sparse_layers = ours.time_layers()
        fp32_layers = None if in_fp32 is None else in_fp32.time_layers()[0]
    layers = _layer_rows(dense, x, ours.report, dense_layers[0], sparse_layers[0])
    if fp32_layers is not None:
        layers = [replace(row, ms_fp32=fp32_layers.get(row.name, 0.0)) for row in layers]
    best = timings.fastest(list(built.runs))
    ratio = timings.ratio(best, "sparse")
    stages, between = _stage_times(dense_layers, sparse_layers)
    params = sum(p.numel() for p in dense.parameters())
    zeros = sum(p.numel() - int(torch.count_nonzero(p)) for p in _pruned(dense, ours.report))
    bytes_dense = sum(t.numel() * t.element_size() for t in dense.state_dict().values())
    saved = sum(row.bytes_dense - row.bytes_sparse for row in layers)
    return Profile(
        model=pair.sparse.clip.name,
        pattern=pair.pattern,
        density=pair.density,
        profile=pair.profile,
        mode=mode,
        size=(x.shape[2], x.shape[3]),
        batch=x.shape[0],
        threads=used_threads,
        isa=isa,
        cpu=device_name(x.device),
        torch=torch.__version__,
        dense_ms={name: timings.median(name) if name in built.runs else None for name in BASELINES},
        sparse_ms=timings.median("sparse"),
        speedup=ratio.median,
        macs_dense=sum(row.macs_dense for row in layers),
        macs_sparse=sum(row.macs_sparse for row in layers),
        params_dense=params,
        params_kept=params - zeros,
        bytes_dense=bytes_dense,
        bytes_sparse=bytes_dense - saved,
        max_rel_err=error,
        layers=layers,
        extras=Extras(
            best=best,
            ratio=ratio,
            failures=built.failures,
            stages=stages,
            between=between,
            rounds=rounds,
            weights=pair.weights,
        ),
        precision=precision,
        fp32_ms=None if in_fp32 is None else timings.median("sparse fp32"),
        rel_err=errors.relative,
        cosine=errors.cosine,
        int8_dense=others.rows(timings, _arrays(reference)),
    )


def max_relative_error(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Largest max|a - b| / max|b| over pairs of maps; inf where one of them is not finite."""
    errors = []
    for a, b in zip(ours, theirs, strict=True):
        error = float((a.double() - b.double()).abs().max() / b.double().abs().max())
        errors.append(error if error == error else float("inf"))
    return max(errors)


def _arrays(maps: Sequence[Tensor]) -> list[np.ndarray]:
    return [m.detach().float().cpu().numpy() for m in maps]


def _check(threads: int | None, mode: str, rounds: int) -> None:
    if mode not in MODES:
        raise ValueError(f"expected mode {' or '.join(map(repr, MODES))}, got {mode!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"expected at least 1 thread, got {threads}")
    if rounds < 1:
        raise ValueError(f"expected at least 1 round, got {rounds}")


def _layer_rows(
    dense: nn.Module,
    x: Tensor,
    report: SparsifyReport,
    ms_dense: dict[str, float],
    ms_sparse: dict[str, float],
) -> list[LayerRow]:
    macs = count_macs(dense, x)
    rows = []
    for name, module in weighted_layers(dense).items():
        swap = report.get(name)
        work = macs.get(name, LayerMacs(0, 0))
        biases = sum(p.numel() for key, p in module.named_parameters() if key.endswith("bias"))
        rows.append(
            LayerRow(
                name=name,
                stage=stage_of(name),
                kind=type(module).__name__ if swap is None else swap.kind,
                shape=_shape(module, swap),
                pattern=swap.pattern or None if swap else None,
                density=layer_density(module),
                macs_dense=work.dense,
                macs_sparse=work.sparse,
                bytes_dense=_bytes(module),
                bytes_sparse=_bytes(module) if swap is None else swap.bytes_sparse + 4 * biases,
                ms_dense=ms_dense.get(name, 0.0),
                ms_sparse=ms_sparse.get(name, 0.0),
                backend="dense" if swap is None else swap.backend,
                reason="no sparse twin" if swap is None else swap.reason,
            )
        )
    return rows


def _bytes(module: nn.Module) -> int:
    return sum(4 * p.numel() for p in module.parameters())


def _shape(module: nn.Module, swap: LayerReport | None) -> tuple[int, ...]:
    if swap is not None:
        return swap.shape
    weight = module.weight
    assert isinstance(weight, Tensor)
    return tuple(weight.shape)


def _pruned(dense: nn.Module, report: SparsifyReport) -> list[nn.Parameter]:
    """Parameters of the layers that have a mask."""
    masked = {layer.name for layer in report.layers if layer.pattern}
    return [p for name in masked for p in dense.get_submodule(name).parameters() if p.dim() > 1]


def _stage_times(
    dense: tuple[dict[str, float], float], sparse: tuple[dict[str, float], float]
) -> tuple[list[StageTimes], StageTimes]:
    """Times summed by stage, in the encoder's order, and what happens between the modules."""
    stages: dict[str, list[float]] = {}
    for column, (times, _) in enumerate((dense, sparse)):
        for name, ms in times.items():
            stages.setdefault(stage_of(name), [0.0, 0.0])[column] += ms
    rest = [max(0.0, total - sum(times.values())) for times, total in (dense, sparse)]
    rows = [StageTimes(stage, *both) for stage, both in stages.items()]
    return rows, StageTimes("between modules", *rest)
