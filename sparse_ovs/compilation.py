"""compile: a pruned encoder, dense or sparsified, as one fused plan; load_plan: one from a file."""

from __future__ import annotations

import copy
import os

from torch import Tensor, nn

from sparse_ovs.engine import CompiledEncoder, LoadedEncoder, Quantization
from sparse_ovs.engine.importer import is_quantised
from sparse_ovs.nn.plain import plain_copy

PRECISIONS = ("fp32", "bf16", "int8")


def compile(
    model: nn.Module,
    example_input: Tensor,
    threads: int | None = None,
    autotune: bool = True,
    release_dense: bool = False,
    precision: str = "fp32",
    quantization: Quantization | None = None,
) -> CompiledEncoder:
    """Exports an encoder's graph, folds and fuses it, packs its weights once.

    Takes every model that torch.export takes: operations without a native step, and steps that the
    library refuses at some size, run in torch. `str` of the result shows all steps, and why torch
    runs those that it runs.

    Args:
        model: of one tensor, dense or sparsified; weights with zeros run sparse. Not changed.
        example_input: (N, C, H, W) float32 on the CPU.
        threads: to run on; None follows get_num_threads at each call.
        autotune: time how each sparse layer runs fastest at the example's size, dense kernels
            among the candidates, and keep what was found under SPARSE_OVS_CACHE
            (~/.cache/sparse_ovs) for this CPU. Other sizes take the nearest tuning, untimed. Off,
            or with SPARSE_OVS_AUTOTUNE=0, a cost model chooses.
        release_dense: memory comes first: keep no dense weights, and the sparse ones once, in the
            form that the plans of all sizes read, where that is not much slower; layers are not
            timed. Where parts of the encoder run in torch, inputs must then have the example's
            shape.
        precision: "fp32", "bf16" or "int8". bf16: steps that have bf16 kernels round maps and
            weights to bf16 and sum in fp32, where the CPU has AVX512_BF16; int8: steps that have
            int8 kernels compute with u8 maps and s8 weights. `str` of the result says which of the
            others run in fp32, and why.
        quantization: what quantize made of this model; with "int8" alone, and not for a model that
            torchao's convert_pt2e made, which brings its own scales.

    Returns:
        A module with the model's eval-mode outputs, for inputs of any size that the model takes.

    Raises:
        RuntimeError: the native library cannot be used here.
        ValueError: an example or a thread count that is no such thing, a model of another number
            of inputs, another precision, int8 without a quantization, one of another model
            or beside a model's own scales, or SPARSE_OVS_AUTOTUNE is neither 0 nor 1.
        Exception: what torch.export itself raises for a model.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
    own_scales = is_quantised(model)
    if own_scales and quantization is not None:
        raise ValueError("expected no quantization of a model that brings its own scales, got one")
    if precision == "int8" and quantization is None and not own_scales:
        raise ValueError(
            "expected a quantization with precision='int8': make one with "
            "sparse_ovs.quantize(model, images)"
        )
    if precision != "int8" and quantization is not None:
        raise ValueError(f"expected precision='int8' with a quantization, got {precision!r}")
    # Models of torch.export refuse eval(), and are in that mode.
    plain = copy.deepcopy(model) if own_scales else plain_copy(model)
    return CompiledEncoder(
        plain, example_input, threads, autotune, release_dense, precision, quantization
    )


def load_plan(path: str | os.PathLike[str], threads: int | None = None) -> LoadedEncoder:
    """Reads an encoder that CompiledEncoder.save wrote.

    Args:
        threads: to run on; None follows get_num_threads at each call.

    Returns:
        A module with the outputs of the encoder that was saved, to the bit, for inputs of any size.

    Raises:
        RuntimeError: the native library cannot be used here.
        FileNotFoundError: no such file.
        FileFormatError: a damaged, foreign or newer file.
        ValueError: a thread count that is no such thing.
    """
    return LoadedEncoder(path, threads)
