"""The list of steps, in order of value."""

from __future__ import annotations

from gpu.encoder_layers import LAYERS, Layer, rn50_layers
from gpu_runs.step import NVRTC_S, SLACK, START_S, TRITON_S, Step

# Timed calls of a contestant: warm-up, capture, and 7 rounds and one untimed of 10 calls.
ROUNDS, CALLS = 7, 100
DENSITY = 0.1
_ARCH = 90

#: By kernel family; the cases are in `steps.smoke`.
SMOKE = {
    "bsr_linear": 6 * TRITON_S,
    "bsr_conv2d": 6 * TRITON_S,
    "sp24_residue": 2 * NVRTC_S,
    "csr_direct": 2 * NVRTC_S,
    "avg_pool2d": 4 * TRITON_S,
}

#: Masks by name, with the routes that run them: how many ways each is timed.
PATTERNS = {"unstructured": 4, "block64x64": 4, "2:4": 3}

#: `pytest -m gpu` by what `-k` takes, and kernels to compile, which several processes share.
SLICES = {
    "convolutions or linears": 12,
    "pooling or trunk": 10,
    "triton and float16 and not bfloat16": 12,
    "triton and bfloat16": 12,
    "triton and tf32": 12,
    "triton and ieee": 9,
}


def layers_by_value() -> list[Layer]:
    """RN50's at 640 x 640: those whose bounds are documented first, then by their share of the
    encoder's products."""
    known = [layer.shape + (layer.size,) for layer in LAYERS]
    return sorted(
        rn50_layers(640),
        key=lambda layer: (
            layer.shape + (layer.size,) not in known,
            -layer.count * layer.flops(),
        ),
    )


def layer_item(layer: Layer, batch: int) -> str:
    """Name of the item that times a layer."""
    return f"{layer.name} batch {batch}"


def _layer_seconds(layer: Layer, batch: int) -> float:
    ways = sum(PATTERNS.values())
    gpu = 2 * ways * CALLS * SLACK * layer.dense_seconds(_ARCH, "fp16", batch)
    # Making masks, packing and capturing beside it; few layers need kernels of their own.
    return gpu + 0.05 * ways + TRITON_S


def _layer_items() -> dict[str, float]:
    layers = layers_by_value()
    order = [(layer, batch) for layer in layers[: len(LAYERS)] for batch in (1, 8)]
    order += [(layer, batch) for batch in (1, 8) for layer in layers[len(LAYERS) :]]
    return {layer_item(layer, batch): _layer_seconds(layer, batch) for layer, batch in order}


STEPS = (
    Step(
        "ceilings",
        "ceilings",
        "copy bandwidth and rates of large products on this GPU, and what is installed",
        {"copy and products": 2.0},
        0.05,
    ),
    Step(
        "smoke",
        "smoke",
        "each kernel family on two shapes against fp64: forward and gradients",
        SMOKE,
        0.15,
    ),
    Step(
        "layers",
        "layer_times",
        "RN50's layers at 640, fp16: every route against dense, channels_last, as CUDA graphs",
        _layer_items(),
        0.20,
    ),
    Step(
        "trunk",
        "trunk",
        "RN50's trunk at 640, fp16: dense eager, as a graph and compiled, and ours",
        {"batch 1": 25.0, "batch 8": 25.0},
        0.20,
    ),
    Step(
        "tests",
        "gpu_tests",
        "`pytest -m gpu` in slices",
        {name: START_S + 0.5 * TRITON_S * kernels for name, kernels in SLICES.items()},
        0.15,
    ),
    Step(
        "others",
        "others",
        "bf16, fp32 and tf32 layers, the trunk at 224, a training step",
        {
            "trunk 224": 20.0,
            "training step": 20.0,
            "bfloat16 layers": 6.0,
            "float32 layers": 6.0,
            "tf32 layers": 6.0,
        },
        0.10,
    ),
    Step(
        "counters",
        "counters",
        "`ncu` on the best and the worst kernel of each family",
        {"best and worst": 20.0},
        0.08,
    ),
    Step(
        "sanitizer",
        "sanitizer",
        "`compute-sanitizer` on the smoke cases",
        {"memcheck": 40.0, "racecheck": 60.0},
        0.07,
    ),
)


def estimates() -> list[str]:
    """The list as lines of Markdown."""
    lines = ["| step | asks | items | share | estimate |", "| --- | --- | --- | --- | --- |"]
    for step in STEPS:
        lines.append(
            f"| {step.name} | {step.asks} | {len(step.items)} | {step.share:.0%} | "
            f"{step.estimate_s:.0f} s |"
        )
    return lines
