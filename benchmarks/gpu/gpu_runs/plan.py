"""The list of steps, in order of value."""

from __future__ import annotations

from gpu.encoder_layers import LAYERS, Layer, rn50_layers
from gpu_runs.step import NVRTC_S, SLACK, START_S, TRITON_S, Step

# Samples of a contestant, and calls in one of a layer: so many that starting a graph and waiting
# for it, some microseconds, take little part in kernels that take as long.
ROUNDS, CALLS = 7, 40
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

#: Masks by name, and the ways that are timed with them: routes and their variants. Tiles and block
#: shapes are compared where one mask suits them all.
WAYS: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "unstructured": (
        ("sp24_residue", (0,)),
        ("sp24_residue", (1,)),
        ("sp24_residue", (2,)),
        ("csr_direct", ()),
    ),
    "block64x64": (("bsr", (64, 64)), ("bsr", (32, 32))),
    "2:4": (("sp24_residue", (1,)),),
    "block32x32": (("bsr", (32, 32)),),
}
#: Of these, those of the layers in float16.
PATTERNS = ("unstructured", "block64x64", "2:4")

#: `pytest -m gpu` by what `-k` takes, with seconds beside the start: several processes compile
#: kernels at once; the trunk is compiled by torch, too.
SLICES = {
    "convolutions or linears or pooling": 5.0,
    "triton and float16 and not bfloat16": 6 * TRITON_S,
    "trunk": 30.0,
    "triton and bfloat16": 6 * TRITON_S,
    "triton and tf32": 6 * TRITON_S,
    "triton and ieee": 5 * TRITON_S,
}


def layers_by_value() -> list[Layer]:
    """RN50's at 640 x 640: those whose bounds are documented first, then by their share of the
    encoder's products."""
    known = [(*layer.shape, layer.size) for layer in LAYERS]
    return sorted(
        rn50_layers(640),
        key=lambda layer: (
            (*layer.shape, layer.size) not in known,
            -layer.count * layer.flops(),
        ),
    )


def layer_item(layer: Layer, batch: int) -> str:
    """Name of the item that times a layer."""
    return f"{layer.name} batch {batch}"


def _layer_seconds(layer: Layer, batch: int) -> float:
    ways = sum(len(WAYS[pattern]) for pattern in PATTERNS)
    gpu = 2 * ways * (ROUNDS + 1) * CALLS * SLACK * layer.dense_seconds(_ARCH, "fp16", batch)
    # Masks, packing and capturing beside it; of the kernels one in five is not compiled yet.
    return gpu + 0.05 * ways + 0.2 * TRITON_S


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
        0.08,
    ),
    Step(
        "smoke",
        "smoke",
        "each kernel family on two shapes against fp64: forward and gradients",
        SMOKE,
        0.16,
    ),
    Step(
        "layers",
        "layer_times",
        "RN50's layers at 640, fp16: every route against dense, channels_last, as CUDA graphs",
        _layer_items(),
        0.18,
    ),
    Step(
        "trunk",
        "trunk",
        "RN50's trunk at 640, fp16: dense eager, as a graph and compiled, and ours",
        {"batch 1": 25.0, "batch 8": 25.0},
        0.18,
    ),
    Step(
        "tests",
        "gpu_tests",
        "`pytest -m gpu` in slices",
        {name: START_S + seconds for name, seconds in SLICES.items()},
        0.13,
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
        0.10,
    ),
    Step(
        "sanitizer",
        "sanitizer",
        "`compute-sanitizer` on the smoke cases",
        {"memcheck": 30.0, "racecheck": 30.0},
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
