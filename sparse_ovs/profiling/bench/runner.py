"""Runs the benchmarks: every kind of layer of an encoder, and the whole of it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import create_backbone
from sparse_ovs.nn import SparseConv2d, SparseLinear, sparsify
from sparse_ovs.patterns import make_mask
from sparse_ovs.profiling.baselines import build_baselines
from sparse_ovs.profiling.bench.arithmetic import DTYPES, multiplying_as
from sparse_ovs.profiling.bench.contest import Maps, contest
from sparse_ovs.profiling.bench.layers import LayerCase, layer_cases
from sparse_ovs.profiling.bench.record import Bench, Row, describe_machine
from sparse_ovs.profiling.bench.stopwatch import Stopwatch
from sparse_ovs.profiling.devices import find_device
from sparse_ovs.profiling.pair import EncoderPair, make_pair

PATTERNS = {
    "cpu": ("unstructured", "block4x1"),
    "cuda": ("unstructured", "block32x32", "block64x64", "2:4"),
}
_ARITHMETICS = {"cpu": ("float32",), "cuda": ("float16", "bfloat16", "float32", "tf32")}
# What dense torch runs an encoder as.
_ENCODERS = {"cpu": ("channels_last", "frozen"), "cuda": ("channels_last", "compiled")}


def run_bench(
    model: str = "RN50",
    device: str = "cpu",
    size: tuple[int, int] = (224, 224),
    batch: int = 1,
    density: float = 0.1,
    patterns: Sequence[str] | None = None,
    arithmetics: Sequence[str] | None = None,
    rounds: int = 15,
    on_step: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Times sparse layers and encoders against dense torch on one device, on random pixels.

    On a GPU every contestant is captured in a CUDA graph. "2:4" is pruned to two of four whatever
    the density, and compared with torch's own 2:4 product too where a layer is one.

    Args:
        model: an open_clip model.
        device: "cpu", "cuda" or "cuda:N".
        size: (H, W) in pixels.
        batch: images.
        density: kept fraction of each layer.
        patterns: of masks; None takes PATTERNS of the device.
        arithmetics: some of "float16", "bfloat16", "float32", "tf32"; None takes all that the
            device has kernels for.
        rounds: samples of each contestant.
        on_step: called with a line of text when a step begins.

    Raises:
        ValueError: an argument out of range.
        RuntimeError: no such device.
    """
    place = find_device(device)
    arithmetics = _ARITHMETICS[place.type] if arithmetics is None else arithmetics
    patterns = PATTERNS[place.type] if patterns is None else patterns
    for arithmetic in arithmetics:
        if arithmetic not in DTYPES:
            raise ValueError(f"expected arithmetics of {', '.join(DTYPES)}, got {arithmetic!r}")
    stopwatch = Stopwatch(place)
    x = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))
    on_step(f"create {model}")
    torch.manual_seed(0)
    cases = layer_cases(create_backbone(model).to(place), x.to(place))
    rows = []
    for arithmetic in arithmetics:
        with multiplying_as(arithmetic):
            for pattern in patterns:
                for case in cases:
                    on_step(f"{case.name}, {pattern}, {arithmetic}")
                    rows.append(_layer_row(case, pattern, density, arithmetic, stopwatch, rounds))
    for pattern in patterns:
        pair = make_pair(model, x, density_of(pattern, density), pattern)
        for arithmetic in arithmetics:
            on_step(f"encoder, {pattern}, {arithmetic}")
            with multiplying_as(arithmetic):
                rows.append(_encoder_row(pair, x, place, arithmetic, stopwatch, rounds))
    return Bench(model, size, batch, density, rounds, str(place), describe_machine(place), rows)


def density_of(pattern: str, density: float) -> float:
    """What a pattern keeps of each layer: n:m has its own say."""
    kept, _, group = pattern.partition(":")
    return int(kept) / int(group) if group else density


def _layer_row(
    case: LayerCase,
    pattern: str,
    density: float,
    arithmetic: str,
    stopwatch: Stopwatch,
    rounds: int,
) -> Row:
    dtype = DTYPES[arithmetic]
    dense, device = case.module, case.module.weight.device
    mask = make_mask(dense.weight.detach(), pattern, density_of(pattern, density))
    pruned = copy.deepcopy(dense)
    with torch.no_grad():
        pruned.weight.mul_(mask)
    x = torch.randn(case.input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    low = x.to(dtype)
    twin: Any = SparseConv2d if isinstance(dense, nn.Conv2d) else SparseLinear
    sparse = twin.from_dense(copy.deepcopy(pruned).to(dtype), mask, pattern, "native")

    def ours() -> Maps:
        if sparse.reason:
            raise ValueError(sparse.reason)
        return lambda: [sparse(low)]

    def plain() -> Maps:
        module = copy.deepcopy(pruned).to(dtype)
        if x.dim() == 4:
            module = module.to(memory_format=torch.channels_last)
        return lambda: [module(low)]

    contestants: dict[str, Callable[[], Maps]] = {"dense": plain}
    if pattern == "2:4" and device.type == "cuda" and dtype != torch.float32 and _is_product(dense):
        contestants["torch 2:4"] = lambda: _torch_two_four(pruned, low)

    def exact() -> list[Tensor]:
        with multiplying_as("float32"):
            return [pruned(x)]

    outcome = contest(contestants, ours, exact, stopwatch, rounds)
    return Row(
        subject=case.name,
        shape=tuple(dense.weight.shape),
        input_shape=case.input_shape,
        pattern=pattern,
        density=float(mask.double().mean()),
        arithmetic=arithmetic,
        backend=sparse.backend,
        **vars(outcome),
    )


def _is_product(module: nn.Module) -> bool:
    """A Linear, or a convolution that is one for every pixel."""
    if isinstance(module, nn.Conv2d):
        return (module.kernel_size, module.stride, module.padding) == ((1, 1), (1, 1), (0, 0))
    return True


def _torch_two_four(pruned: nn.Conv2d | nn.Linear, x: Tensor) -> Maps:
    """torch's semi-structured product (cuSPARSELt or CUTLASS), over pixels or tokens."""
    from torch.sparse import to_sparse_semi_structured

    weight = to_sparse_semi_structured(pruned.weight.detach().to(x.dtype).flatten(1))
    bias = None if pruned.bias is None else pruned.bias.detach().to(x.dtype)
    tokens = (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).reshape(-1, weight.shape[1])
    return lambda: [F.linear(tokens, weight, bias)]


def _encoder_row(
    pair: EncoderPair,
    x: Tensor,
    device: torch.device,
    arithmetic: str,
    stopwatch: Stopwatch,
    rounds: int,
) -> Row:
    dtype = DTYPES[arithmetic]
    low = x.to(device, dtype).contiguous(memory_format=torch.channels_last)
    dense = copy.deepcopy(pair.dense).to(device)
    backends: Counter[str] = Counter()

    def ours() -> Maps:
        encoder = copy.deepcopy(pair.sparse).to(device, dtype)
        report = sparsify(encoder, pair.pattern, None, fold_bn="eval", example_input=low)
        backends.update(layer.backend for layer in report.layers)
        return lambda: encoder(low)

    def baseline(name: str) -> Maps:
        built = build_baselines(copy.deepcopy(dense).to(dtype), low, (name,))
        if name in built.failures:
            raise RuntimeError(built.failures[name])
        return lambda: list(built.runs[name]())

    def exact() -> list[Tensor]:
        with multiplying_as("float32"):
            return dense(x.to(device))

    contestants = {
        name: lambda name=name: baseline(name)  # type: ignore[misc]
        for name in _ENCODERS[device.type]
    }
    outcome = contest(contestants, ours, exact, stopwatch, rounds)
    weights = [w for n, w in pair.dense.named_parameters() if w.dim() > 1]
    kept = sum(int(torch.count_nonzero(w)) for w in weights)
    return Row(
        subject="encoder",
        shape=(),
        input_shape=tuple(x.shape),
        pattern=pair.pattern,
        density=kept / sum(w.numel() for w in weights),
        arithmetic=arithmetic,
        backend=", ".join(f"{count} {name}" for name, count in backends.most_common()),
        **vars(outcome),
    )
