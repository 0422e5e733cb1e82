"""The latency split: what each stage took by a clock that tests hold."""

from __future__ import annotations

import itertools

import pytest
from torch import nn

from sparse_ovs import ops
from sparse_ovs.nn import DeformableAttention, DenseConv2d, TokenLinear
from sparse_ovs.predictor.latency import Latency
from sparse_ovs.segmenter.latency import STAGES, _without_kernels, profile_head
from support.small_clips import RN, small_backbone


def test_stages_add_up_and_sparse_scores_are_the_dense_ones() -> None:
    small_backbone()
    # Slow for the text (6 readings).
    steps = itertools.chain([50.0] * 6, itertools.repeat(1.0))
    ticks = itertools.accumulate(steps)
    made = profile_head(
        "maskclip",
        RN,
        density=0.3,
        size=(64, 96),
        vocabulary="cat, kitten; dog",
        templates="bare",
        baselines=["eager", "channels_last"],
        rounds=3,
        clock=lambda: next(ticks),
    )
    for stages in (made.dense, made.sparse):
        assert list(stages) == [*STAGES, "total"]
        assert all(stages[stage] == Latency(1000.0, 1000.0) for stage in STAGES)
        assert stages["total"] == Latency(4000.0, 4000.0)
    assert made.text == Latency(50_000.0, 50_000.0)
    assert set(made.encoders) == {"eager", "channels_last"}
    assert made.speedup.median == 1.0
    assert 0 < made.max_rel_err < 1e-4
    assert (made.classes, made.prompts, made.weights) == (2, 3, "random")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "expected at least 1 round, got 0"),
        ({"threads": 0}, "expected at least 1 thread, got 0"),
        ({"size": (0, 64)}, "expected a size of at least 1 pixel, got 0x64"),
        ({"vocabulary": ""}, "expected classes such as"),
        ({"templates": "all"}, "expected templates bare, vild, imagenet"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile_head("maskclip", RN, **options)


def test_a_head_with_deformable_attention_is_timed_against_torch_s_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_backbone()
    in_torch = []
    reference = ops.deformable_attention_reference
    monkeypatch.setattr(
        ops, "deformable_attention_reference", lambda *a: in_torch.append(1) or reference(*a)
    )
    sizes = {"dim": 32, "heads": 2, "queries": 4, "pixel_layers": 1, "decoder_layers": 1}
    made = profile_head(
        "maskformer",
        RN,
        size=(64, 64),
        vocabulary="cat; dog",
        templates="bare",
        baselines=["eager"],
        rounds=1,
        head_sizes={**sizes, "pixel_ffn": 32, "ffn": 32},
    )
    # To build, to compare, a round that does not count, and one that does: the sparse side none.
    assert len(in_torch) == 4
    assert 0 < made.max_rel_err < 1e-3
    assert made.totals == {"eager": made.dense["total"].p50}


def test_the_baselines_copy_of_a_head_runs_by_torch_s_own_layers_alone() -> None:
    head = nn.ModuleList([TokenLinear(4, 4), DenseConv2d(4, 4, 1), DeformableAttention(4, 1, 1, 1)])
    linear, conv, attention = _without_kernels(head)  # type: ignore[arg-type, misc]
    assert not any((linear.as_convolution, attention.value_proj.as_convolution))
    assert not any((conv.native, attention.native))
    # The head itself keeps them.
    assert all((head[0].as_convolution, head[1].native, head[2].native))


@pytest.mark.slow
def test_the_head_is_compiled_where_the_encoder_is() -> None:
    small_backbone()
    made = profile_head(
        "maskclip",
        RN,
        size=(64, 64),
        vocabulary="cat; dog",
        templates="bare",
        baselines=["compiled", "frozen"],
        rounds=1,
    )
    assert all(made.totals.values())
    assert made.max_rel_err < 1e-4
