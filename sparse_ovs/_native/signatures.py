"""Arguments and results of the library's functions, as the C header declares them."""

from __future__ import annotations

import ctypes

from sparse_ovs._native.structures import (
    Buffer,
    Conv2dParams,
    Conv2dPlace,
    DeformableParams,
    Map,
    MaskWindow,
    NamedTensor,
    NamedWeights,
    StepInfoStructure,
    TuningStructure,
    WeightsDesc,
)


def declare(lib: ctypes.CDLL) -> None:
    """Tells ctypes the types of all functions."""
    i32, i64, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
    buffers = [ctypes.POINTER(Buffer), i32]
    signatures: dict[str, tuple[object, list[object]]] = {
        "sovs_last_error": (ctypes.c_char_p, []),
        "sovs_isa": (ctypes.c_char_p, []),
        "sovs_available_isas": (ctypes.c_char_p, []),
        "sovs_bf16_isa": (ctypes.c_char_p, []),
        "sovs_use_openmp": (None, [pointer]),
        "sovs_buffer_take": (i32, [ctypes.c_size_t, ctypes.POINTER(pointer)]),
        "sovs_buffer_give": (i32, [pointer]),
        "sovs_buffer_idle_bytes": (ctypes.c_size_t, []),
        "sovs_weights_create": (i32, [ctypes.POINTER(WeightsDesc), ctypes.POINTER(pointer)]),
        "sovs_weights_bytes": (ctypes.c_size_t, [pointer]),
        "sovs_weights_packed_bytes": (ctypes.c_size_t, [pointer]),
        "sovs_weights_hold_once": (i32, [pointer]),
        "sovs_weights_unpack": (i32, [pointer, pointer]),
        "sovs_weights_update": (i32, [pointer, pointer, pointer, i32]),
        "sovs_weights_transpose": (i32, [pointer, ctypes.POINTER(pointer)]),
        "sovs_weights_destroy": (None, [pointer]),
        "sovs_program_create": (
            i32,
            [
                ctypes.c_char_p,
                ctypes.POINTER(NamedWeights),
                i32,
                ctypes.POINTER(NamedTensor),
                i32,
                ctypes.POINTER(pointer),
            ],
        ),
        "sovs_program_destroy": (None, [pointer]),
        "sovs_plan_create": (
            i32,
            [
                pointer,
                ctypes.POINTER(Map),
                i32,
                ctypes.POINTER(i64),
                i32,
                i32,
                ctypes.POINTER(pointer),
            ],
        ),
        "sovs_plan_input": (i32, [pointer, i32, ctypes.POINTER(Map)]),
        "sovs_plan_output": (i32, [pointer, i32, ctypes.POINTER(Map)]),
        "sovs_plan_run": (i32, [pointer, *buffers, *buffers, i32]),
        "sovs_plan_time": (
            i32,
            [pointer, *buffers, *buffers, i32, ctypes.POINTER(ctypes.c_double)],
        ),
        "sovs_conv2d_backend": (
            i32,
            [
                pointer,
                ctypes.POINTER(Conv2dParams),
                ctypes.POINTER(Conv2dPlace),
                ctypes.POINTER(ctypes.c_char_p),
            ],
        ),
        "sovs_conv2d_candidates": (
            i32,
            [
                pointer,
                ctypes.POINTER(Conv2dParams),
                ctypes.POINTER(Conv2dPlace),
                ctypes.POINTER(TuningStructure),
                ctypes.POINTER(i32),
            ],
        ),
        "sovs_conv2d_time": (
            i32,
            [
                pointer,
                ctypes.POINTER(Conv2dParams),
                ctypes.POINTER(Conv2dPlace),
                ctypes.POINTER(TuningStructure),
                *[i32] * 2,
                ctypes.POINTER(ctypes.c_double),
            ],
        ),
        "sovs_plan_step_count": (i32, [pointer]),
        "sovs_plan_step_info": (i32, [pointer, i32, ctypes.POINTER(StepInfoStructure)]),
        "sovs_plan_arena_bytes": (ctypes.c_size_t, [pointer]),
        "sovs_plan_destroy": (None, [pointer]),
        "sovs_weight_gradient_create": (
            i32,
            [
                pointer,
                ctypes.POINTER(Conv2dParams),
                pointer,
                *[i64] * 3,
                *[i32] * 2,
                ctypes.POINTER(pointer),
            ],
        ),
        "sovs_weight_gradient_run": (i32, [pointer, pointer, pointer, pointer, i32]),
        "sovs_weight_gradient_destroy": (None, [pointer]),
        "sovs_batch_norm": (i32, [*[i64] * 3, ctypes.c_float, *[pointer] * 6, i32]),
        "sovs_batch_norm_gradients": (i32, [*[i64] * 3, ctypes.c_float, *[pointer] * 8, i32]),
        "sovs_group_norm": (
            i32,
            [*[i64] * 5, ctypes.c_float, *[pointer] * 4, *[i64] * 2, *[i32] * 2],
        ),
        "sovs_decide": (
            i32,
            [*[i64] * 3, pointer, *[ctypes.c_double] * 2, *[i64] * 2, i32, *[pointer] * 3, i32],
        ),
        "sovs_decide_masks": (
            i32,
            [
                ctypes.POINTER(MaskWindow),
                i32,
                *[i64] * 3,
                i32,
                *[i64] * 2,
                *[pointer] * 3,
                i32,
            ],
        ),
        "sovs_deformable_attention": (
            i32,
            [ctypes.POINTER(DeformableParams), *[pointer] * 4, i32],
        ),
        "sovs_deformable_attention_around": (
            i32,
            [ctypes.POINTER(DeformableParams), pointer, i64, *[pointer] * 4, i32],
        ),
        "sovs_encoder_load": (i32, [ctypes.c_char_p, ctypes.POINTER(pointer)]),
        "sovs_encoder_input_channels": (i64, [pointer]),
        "sovs_encoder_output_count": (i32, [pointer]),
        "sovs_encoder_header": (ctypes.c_char_p, [pointer]),
        "sovs_encoder_outputs": (i32, [pointer, i64, i64, i64, ctypes.POINTER(Map)]),
        "sovs_encoder_run": (
            i32,
            [pointer, ctypes.POINTER(Buffer), i64, i64, i64, *buffers, i32],
        ),
        "sovs_encoder_plan": (i32, [pointer, i64, i64, i64, i32, ctypes.POINTER(pointer)]),
        "sovs_encoder_destroy": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
