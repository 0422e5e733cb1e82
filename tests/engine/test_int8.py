"""Plans in int8: the numbers that 64-bit integers give, conversions where they must be, reasons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.engine.graph import Convert
from support import int8_reference
from support.oracles import random_sparse_weight
from support.small_encoders import Small


def compiled(
    model: nn.Module, x: Tensor, threads: int = 1, **how: object
) -> sparse_ovs.engine.CompiledEncoder:
    q = sparse_ovs.quantize(model, [x], **how)
    return sparse_ovs.compile(model, x, threads=threads, precision="int8", quantization=q)


def exact(model: nn.Module, x: Tensor, threads: int = 1) -> list[Tensor]:
    """What the plan gives, after it was found equal to the reference."""
    fast = compiled(model, x, threads)
    made = fast(x)
    made = list(made) if isinstance(made, (tuple, list)) else [made]
    expected = int8_reference.outputs(fast._graph, x)
    assert len(made) == len(expected)
    for ours, theirs in zip(made, expected, strict=True):
        assert torch.equal(ours, theirs)
    return made


@pytest.mark.parametrize("pattern", ["unstructured", "block2x1", "block4x1", "dense"])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_encoder_equals_sums_of_integers_exactly(pattern: str, threads: int) -> None:
    torch.manual_seed(0)
    model = Small(
        1.0 if pattern == "dense" else 0.3, "unstructured" if pattern == "dense" else pattern, 16
    ).eval()
    exact(model, torch.randn(2, 3, 37, 50), threads)


class Convs(nn.Module):
    """A chain of two convolutions of which the second one adds what the first one read."""

    def __init__(self, first: nn.Conv2d, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = first
        self.second = nn.Conv2d(first.out_channels, first.in_channels, 1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.activation(self.first(x)))
        return y + x if y.shape == x.shape else y


@given(
    n=st.integers(1, 3),
    height=st.integers(3, 20),
    width=st.integers(3, 40),
    channels=st.sampled_from([1, 5, 16]),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.sampled_from([1, 1, 2, 3]),
    padding=st.integers(0, 2),
    dilation=st.sampled_from([1, 1, 2]),
    depthwise=st.booleans(),
    density=st.sampled_from([0.0, 0.1, 0.4, 1.0]),
    pattern=st.sampled_from(["unstructured", "block2x1", "block4x1"]),
    activation=st.sampled_from([F.relu, F.relu6, nn.Identity()]),
    threads=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_any_convolution_equals_sums_of_integers_exactly(
    n: int,
    height: int,
    width: int,
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    depthwise: bool,
    density: float,
    pattern: str,
    activation: Callable[[Tensor], Tensor],
    threads: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    reach = dilation * (kernel - 1) + 1
    height, width = max(height, reach), max(width, reach)
    out, groups = (channels, channels) if depthwise else (12, 1)
    conv = nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups)
    conv.weight.data = random_sparse_weight(conv.weight.shape, density, pattern, seed)
    exact(Convs(conv, activation).eval(), 2 * torch.randn(n, channels, height, width), threads)


@pytest.mark.parametrize(
    ("pattern", "groups", "rows"),
    [
        ("unstructured", 1, 1),
        ("block2x1", 1, 2),
        ("block4x1", 1, 4),
        ("block4x1", 4, 2),  # of 6 rows
        ("block2x1", 8, 1),  # of 3
    ],
)
def test_as_many_output_channels_share_their_columns_as_the_mask_and_the_groups_let(
    pattern: str, groups: int, rows: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 24, 3, groups=groups)
    conv.weight.data = random_sparse_weight(conv.weight.shape, 0.2, pattern)
    # Numbers far from 0: none of them becomes the integer 0, which is not stored.
    conv.weight.data += 3 * conv.weight.sign()
    x = torch.randn(1, 16, 9, 11)
    exact(conv.eval(), x)
    rows_shown = compiled(conv, x).plan_for(x).rows()
    assert [row.backend for row in rows_shown if "int8" in row.backend] == [f"int8 rows{rows}"]


def test_errors_stay_small() -> None:
    """Far from a bound: the scales of Small's maps are right."""
    torch.manual_seed(0)
    model, x = Small(width=32).eval(), torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        expected = model(x)
    for ours, theirs in zip(compiled(model, x)(x), expected, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 0.02


def test_results_are_the_same_for_every_number_of_threads_and_size_of_batch() -> None:
    torch.manual_seed(0)
    model, x = Small(width=32).eval(), torch.randn(3, 3, 64, 80)
    q = sparse_ovs.quantize(model, [x])
    one = sparse_ovs.compile(model, x, threads=1, precision="int8", quantization=q)
    two = sparse_ovs.compile(model, x, threads=2, precision="int8", quantization=q)
    whole = one(x)
    for number, image in enumerate(x):
        for maps in (two(x), one(image[None]), two(image[None])):
            for ours, theirs in zip(maps, whole, strict=True):
                assert torch.equal(ours[number if len(ours) > 1 else 0], theirs[number])


def test_a_value_is_converted_once_each_way() -> None:
    torch.manual_seed(0)
    fast = compiled(Small().eval(), torch.randn(1, 3, 32, 32))
    converts = [node for node in fast._graph.nodes if isinstance(node, Convert)]
    assert [node.quant is None for node in converts] == [
        False,
        True,
        True,
    ]  # the input, two outputs
    rows = fast.plan_for(torch.randn(1, 3, 32, 32)).rows()
    assert [row.backend for row in rows if row.op == "convert"] == ["quantize"] + 2 * ["dequantize"]


def test_maps_between_int8_and_torch_are_floats() -> None:
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.first(x))
            return self.second(torch.sin(y)) + y  # y: across the step that runs in torch

    torch.manual_seed(0)
    exact(Between().eval(), torch.randn(2, 3, 9, 11))


def test_what_stays_in_fp32_says_why() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain, self.kept = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.wide = nn.Conv2d(4, 2, 129, padding=64)

        def forward(self, x: Tensor) -> Tensor:
            return self.wide(F.relu(self.kept(F.relu(self.plain(x)))))

    x = torch.randn(1, 4, 8, 8)
    fast = compiled(Mixed().eval(), x, exclude=["ke*"])
    rows = {row.name: row for row in fast.plan_for(x).rows()}
    assert rows["plain"].backend.startswith("int8")
    assert rows["plain"].reason == ""
    assert rows["kept"].reason == "kept in fp32, as asked for"
    assert rows["wide"].reason == "int8 sums hold at most 65535 products"
    assert "as asked for" in str(fast)


def test_lopsided_zeros_become_part_of_the_convolution() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(F.pad(x, (0, 1, 0, 1)))

    torch.manual_seed(0)
    model, x = Same().eval(), torch.randn(2, 3, 14, 20)
    fast = sparse_ovs.compile(model, x, autotune=False)
    assert [row.op for row in fast.plan_for(x).rows() if row.backend != "copy"] == [
        "conv 4x4 / 2x2"
    ]
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x))
    exact(model, x)


@pytest.mark.parametrize(
    ("precision", "quantized", "said"),
    [
        ("int4", False, "expected a precision of fp32, bf16, int8, got 'int4'"),
        ("int8", False, r"make one with sparse_ovs.quantize\(model, images\)"),
        ("fp32", True, "expected precision='int8' with a quantization, got 'fp32'"),
    ],
)
def test_precisions_without_sense_are_refused(precision: str, quantized: bool, said: str) -> None:
    model, x = Small().eval(), torch.randn(1, 3, 32, 32)
    q = sparse_ovs.quantize(model, [x]) if quantized else None
    with pytest.raises(ValueError, match=said):
        sparse_ovs.compile(model, x, precision=precision, quantization=q)


def test_a_quantization_of_another_model_is_refused_by_layer() -> None:
    x = torch.randn(1, 3, 32, 32)
    q = sparse_ovs.quantize(Small(width=16).eval(), [x])
    with pytest.raises(ValueError, match="got 16 channels of stem, which has 8"):
        sparse_ovs.compile(Small().eval(), x, precision="int8", quantization=q)
    other = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    with pytest.raises(ValueError, match="of this model, got one without 0"):
        sparse_ovs.compile(other, x, precision="int8", quantization=q)


def test_sparse_weights_may_be_held_once() -> None:
    torch.manual_seed(0)
    model, x = Small(width=32).eval(), torch.randn(1, 3, 64, 80)
    q = sparse_ovs.quantize(model, [x])
    how = {"precision": "int8", "quantization": q}
    small = sparse_ovs.compile(model, x, release_dense=True, **how)
    for ours, theirs in zip(small(x), sparse_ovs.compile(model, x, **how)(x), strict=True):
        assert torch.equal(ours, theirs)
    assert small.memory().dense_bytes < 20_000


def test_dense_weights_may_be_held_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Small(1.0, width=32).eval(), torch.randn(1, 3, 64, 80)
    q = sparse_ovs.quantize(model, [x])
    how = {"precision": "int8", "quantization": q, "autotune": False}
    kept = sparse_ovs.compile(model, x, **how)
    small = sparse_ovs.compile(model, x, release_dense=True, **how)
    assert small.memory().packed_bytes < kept.memory().packed_bytes / 4
    small.save(tmp_path / "small.plan")  # from the form that the kernels read
    loaded = sparse_ovs.load_plan(tmp_path / "small.plan")
    for image in (x, torch.randn(2, 3, 40, 40)):
        for other in (small, loaded):
            for ours, theirs in zip(other(image), kept(image), strict=True):
                assert torch.equal(ours, theirs)


@pytest.mark.parametrize("pattern", ["unstructured", "block2x1", "block4x1"])
def test_weights_held_once_take_a_tenth_of_the_dense_ones_bytes(pattern: str) -> None:
    model, x = Small(0.1, pattern, width=512).eval(), torch.randn(1, 3, 20, 24)
    dense = sum(4 * m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    how = {"precision": "int8", "quantization": sparse_ovs.quantize(model, [x])}
    kept = sparse_ovs.compile(model, x, 1, autotune=False, **how)
    released = sparse_ovs.compile(model, x, 1, release_dense=True, **how)
    assert released.memory().packed_bytes < kept.memory().packed_bytes / 4
    assert released.memory().stream_bytes <= kept.memory().stream_bytes
    assert released.memory().packed_bytes + released.memory().stream_bytes < 0.1 * dense


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("pattern", ["unstructured", "block2x1", "block4x1"])
def test_plans_of_many_sizes_share_weights_that_are_held_once(pattern: str, threads: int) -> None:
    model, x = Small(0.1, pattern, width=256).eval(), torch.randn(1, 3, 20, 24)
    how = {"precision": "int8", "quantization": sparse_ovs.quantize(model, [x])}
    kept = sparse_ovs.compile(model, x, threads, autotune=False, **how)
    released = sparse_ovs.compile(model, x, threads, release_dense=True, **how)
    first = released.memory()
    for size in ((64, 64), (48, 80), (14, 14), (30, 22), (96, 40)):
        image = torch.randn(2, 3, *size)
        for ours, theirs in zip(released(image), kept(image), strict=True):
            assert torch.equal(ours, theirs)
        memory = released.memory()
        assert (memory.packed_bytes, memory.stream_bytes) == (
            first.packed_bytes,
            first.stream_bytes,
        )
