"""ops.conv2d against dense torch in double precision, over everything that may vary."""

from __future__ import annotations

from typing import NoReturn

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sparse_ovs
from sparse_ovs import ops
from sparse_ovs.formats import pack
from support.examples import examples
from support.problems import ConvData, ConvProblem, assert_right, conv_data

PATTERNS = ("unstructured", "block4x1", "2:4", "channel")
LAYOUTS = ("contiguous", "channels_last", "strided")


@st.composite
def conv_problems(draw: st.DrawFn) -> ConvProblem:
    """Small convolutions of every kind whose output has at least one pixel."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    least = [max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) for i in range(2)]
    pattern = draw(st.sampled_from(PATTERNS))
    # Blocks of 4 rows stay inside a group.
    step = 4 if groups > 1 and pattern == "block4x1" else 1
    return ConvProblem(
        batch=draw(st.sampled_from([1, 1, 2, 3, 17])),
        in_channels=groups * draw(st.integers(1, 9)),
        out_channels=groups * step * draw(st.integers(1, 9)),
        size=(
            draw(st.integers(least[0], least[0] + 12)),
            draw(st.integers(least[1], least[1] + 20)),
        ),
        kernel=kernel,
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        padding=padding,
        dilation=dilation,
        groups=groups,
        density=draw(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0])),
        pattern=pattern,
        block_rows=None if groups == 1 or step == 4 else 1,
        bias=draw(st.booleans()),
        norm=draw(st.booleans()),
        residual=draw(st.booleans()),
        relu=draw(st.booleans()),
        layout=draw(st.sampled_from(LAYOUTS)),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=examples(300))
@given(conv_problems(), st.integers(1, 4))
def test_any_convolution_is_as_exact_as_torch(problem: ConvProblem, threads: int) -> None:
    sparse_ovs.set_num_threads(threads)
    assert_right(conv_data(problem))


@settings(max_examples=examples(100))
@given(conv_problems())
def test_every_thread_count_gives_the_same_bits(problem: ConvProblem) -> None:
    data = conv_data(problem)
    results = []
    for threads in (1, 2, 3, 4):
        sparse_ovs.set_num_threads(threads)
        results.append(data.run())
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_map_of_many_tiles_has_the_same_bits_for_every_thread_count(
    kernel: int, threads: int
) -> None:
    problem = ConvProblem(
        1, 48, 40, (29, 31), (kernel, kernel), padding=(kernel // 2, kernel // 2), relu=True
    )
    data = conv_data(problem)
    sparse_ovs.set_num_threads(1)
    alone = assert_right(data)
    sparse_ovs.set_num_threads(threads)
    assert torch.equal(data.run(), alone)


@settings(max_examples=examples(40))
@given(conv_problems())
def test_every_memory_layout_gives_the_same_bits(problem: ConvProblem) -> None:
    results = [conv_data(problem.but(layout=layout)).run() for layout in LAYOUTS]
    assert all(torch.equal(results[0], other) for other in results[1:])


@settings(max_examples=examples(40))
@given(conv_problems().filter(lambda p: p.groups == 1))
def test_blocks_of_one_and_of_four_rows_give_the_same_bits(problem: ConvProblem) -> None:
    ones = conv_data(problem.but(block_rows=1)).run()
    assert torch.equal(conv_data(problem.but(block_rows=4)).run(), ones)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(
    ("bias", "norm", "residual", "relu"),
    [
        (False, False, False, False),
        (True, False, False, False),
        (False, True, False, True),
        (True, True, True, True),
        (False, False, True, False),
        (True, False, True, True),
    ],
)
def test_every_epilogue_on_every_path(
    bias: bool,
    norm: bool,
    residual: bool,
    relu: bool,
    kernel: int,
    layout: str,
    pattern: str,
    threads: int,
) -> None:
    sparse_ovs.set_num_threads(threads)
    pad = (kernel // 2, kernel // 2)
    problem = ConvProblem(
        2,
        19,
        21,
        (9, 11),
        (kernel, kernel),
        padding=pad,
        pattern=pattern,
        bias=bias,
        norm=norm,
        residual=residual,
        relu=relu,
        layout=layout,
    )
    assert_right(conv_data(problem))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 15, 16, 17, 33])
@pytest.mark.parametrize("kernel", [1, 3])
def test_maps_of_one_pixel(kernel: int, batch: int, layout: str) -> None:
    problem = ConvProblem(
        batch, 33, 18, (1, 1), (kernel, kernel), padding=(kernel // 2, kernel // 2), layout=layout
    )
    assert_right(conv_data(problem.but(residual=True, relu=True)))


@pytest.mark.parametrize("batch", [1, 2, 17])
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (1, 49), (49, 1), (5, 13), (15, 17), (3, 64)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_tails_of_odd_sizes(kernel: int, size: tuple[int, int], batch: int) -> None:
    assert_right(
        conv_data(ConvProblem(batch, 5, 7, size, (kernel, kernel), padding=(kernel // 2,) * 2))
    )


@pytest.mark.parametrize("channels", [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130])
@pytest.mark.parametrize("kernel", [1, 3])
def test_channel_counts_around_every_tile_size(kernel: int, channels: int) -> None:
    padding = (kernel // 2, kernel // 2)
    assert_right(
        conv_data(ConvProblem(1, channels, channels + 1, (5, 7), (kernel, kernel), padding=padding))
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((1, 1), (2, 2), (0, 0), (1, 1)),
        ((1, 1), (1, 1), (2, 1), (1, 1)),
        ((3, 3), (2, 2), (1, 1), (1, 1)),
        ((3, 3), (1, 1), (2, 2), (2, 2)),
        ((3, 3), (1, 1), (12, 12), (12, 12)),
        ((2, 5), (2, 1), (0, 3), (3, 1)),
        ((7, 7), (2, 2), (3, 3), (1, 1)),
        ((16, 16), (16, 16), (0, 0), (1, 1)),
        ((1, 9), (1, 4), (0, 4), (1, 1)),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_shapes_that_real_encoders_have(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    layout: str,
) -> None:
    problem = ConvProblem(
        2, 6, 10, (35, 33), kernel, stride, padding, dilation, layout=layout, relu=True
    )
    assert_right(conv_data(problem))


def test_a_depthwise_convolution() -> None:
    problem = ConvProblem(2, 12, 12, (9, 9), (3, 3), groups=12, density=0.5, block_rows=1)
    assert_right(conv_data(problem))


def test_groups_with_blocks_of_four_rows() -> None:
    problem = ConvProblem(2, 12, 16, groups=2, pattern="block4x1", block_rows=4, density=0.5)
    assert_right(conv_data(problem))


@pytest.mark.parametrize("block_rows", [1, 4])
def test_a_row_without_nonzeros_gives_the_bias(block_rows: int) -> None:
    data = conv_data(ConvProblem(block_rows=block_rows, density=0.5))
    data = data.with_weight(_zeroed(data.weight, 0, 3))
    assert data.bias is not None
    assert torch.equal(data.run()[:, 3], data.bias[3].expand(1, *data.problem.out_size))


def test_a_row_without_nonzeros_and_without_bias_gives_zero() -> None:
    data = conv_data(ConvProblem(bias=False))
    data = data.with_weight(_zeroed(data.weight, 0, 3))
    assert data.run()[:, 3].count_nonzero() == 0


def test_a_fully_dense_row_beside_sparse_ones() -> None:
    data = conv_data(ConvProblem(2, 30, 12, density=0.05))
    weight = data.weight.clone()
    weight[5] = torch.randn(weight.shape[1:])
    assert_right(data.with_weight(weight))


def test_an_input_channel_without_nonzeros() -> None:
    data = conv_data(ConvProblem(density=0.6))
    assert_right(data.with_weight(_zeroed(data.weight, 1, 2)))


@pytest.mark.parametrize("block_rows", [1, 4])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_weight_without_nonzeros(bias: bool, norm: bool, block_rows: int) -> None:
    problem = ConvProblem(
        2, density=0.0, bias=bias, norm=norm, residual=True, relu=True, block_rows=block_rows
    )
    assert_right(conv_data(problem))


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_fully_dense_weight(kernel: int) -> None:
    problem = ConvProblem(2, 20, 24, kernel=(kernel, kernel), density=1.0)
    data = conv_data(problem)
    assert data.packed.block_rows == 4
    assert_right(data)


def test_a_stored_negative_zero_changes_nothing() -> None:
    data = conv_data(ConvProblem())
    weight = torch.where(data.weight == 0, -0.0, data.weight)
    every = torch.ones_like(weight, dtype=torch.bool)
    stored = pack(weight, every)
    ours = data.run(
        weight=weight,
        mask=every,
        indices=stored.indices,
        row_ptr=stored.row_ptr,
        block_rows=stored.block_rows,
    )
    assert torch.equal(ours, data.run())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_activations_under_a_skipped_zero_do_not_spread(layout: str, value: float) -> None:
    data = conv_data(ConvProblem(density=0.6, layout=layout))
    data = data.with_weight(_zeroed(data.weight, 1, 2))
    clean = data.run()
    data.x[:, 2] = value
    assert torch.equal(data.run(), clean)
    assert data.torch().isnan().any()  # what a dense convolution makes of it


def test_nan_under_a_stored_weight_spreads() -> None:
    data = conv_data(ConvProblem(density=1.0, relu=True))
    data.x[0, 2, 3, 3] = torch.nan
    assert torch.equal(data.run().isnan(), data.torch().isnan())


@pytest.mark.parametrize("channels", [65_535, 65_536, 65_537, 70_001])
def test_channels_past_the_reach_of_sixteen_bits(channels: int) -> None:
    weight = torch.zeros(3, channels, 1, 1)
    for row, column in enumerate((0, 40_000, channels - 1)):
        weight[row, column] = row + 1.0
    weight[0, channels - 1] = 7.0
    x = torch.randn(1, channels, 1, 2)
    data = ConvData(ConvProblem(kernel=(1, 1), padding=(0, 0)), x, weight, None, [], None)
    assert data.packed.indices.dtype == (torch.uint16 if channels <= 65_536 else torch.int32)
    assert_right(data)


def test_taps_times_channels_past_the_reach_of_sixteen_bits() -> None:
    # 9 * 7,300 columns: each channel fits in 16 bits, the flattened column does not.
    data = conv_data(ConvProblem(1, 7_300, 4, (3, 4), density=0.01))
    assert data.packed.indices.dtype == torch.int32
    assert_right(data)


@pytest.mark.parametrize("kernel", [1, 3])
def test_columns_between_fifteen_and_sixteen_bits_as_int16(kernel: int) -> None:
    # Modules keep the bits of a uint16 in an int16, whose numbers are then negative.
    data = conv_data(ConvProblem(1, 60_000 // kernel**2, 4, (2, 3), (kernel, kernel), density=0.01))
    assert int(data.packed.indices.to(torch.int64).max()) > 32_767
    assert torch.equal(data.run(indices=data.packed.indices.view(torch.int16)), data.run())


@pytest.mark.parametrize("kernel", [1, 3])
def test_channels_last_stays_channels_last(kernel: int) -> None:
    y = conv_data(ConvProblem(2, kernel=(kernel, kernel), layout="channels_last")).run()
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not y.is_contiguous()


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_every_other_layout_gives_a_contiguous_map(layout: str) -> None:
    assert conv_data(ConvProblem(2, layout=layout)).run().is_contiguous()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_large_outputs_lie_in_memory_as_small_ones_do(layout: str) -> None:
    # Outputs above a megabyte come from the library's own pool.
    data = conv_data(ConvProblem(2, 3, 40, (70, 72), (1, 1), padding=(0, 0), layout=layout))
    ours = assert_right(data)
    assert ours.is_contiguous(memory_format=torch.channels_last) == (layout == "channels_last")


def test_large_outputs_that_are_alive_do_not_share_memory() -> None:
    data = conv_data(ConvProblem(2, 3, 40, (70, 72), (1, 1), padding=(0, 0)))
    first = data.run()
    kept = first.clone()
    second = data.run(x=data.x + 1)
    assert first.data_ptr() != second.data_ptr()
    assert torch.equal(first, kept)


def test_a_view_of_a_large_output_outlives_it() -> None:
    data = conv_data(ConvProblem(2, 3, 40, (70, 72), (1, 1), padding=(0, 0)))
    view = data.run()[1, 3]
    kept = view.clone()
    for _ in range(3):
        data.run(x=data.x + 1)
    assert torch.equal(view, kept)


def test_a_residual_of_another_layout() -> None:
    data = conv_data(ConvProblem(2, residual=True, relu=True))
    assert data.residual is not None
    other = data.residual.contiguous(memory_format=torch.channels_last)
    assert torch.equal(data.run(residual=other), data.run())


def test_a_weight_in_channels_last() -> None:
    data = conv_data(ConvProblem(2))
    other = data.weight.contiguous(memory_format=torch.channels_last)
    assert torch.equal(data.run(weight=other), data.run())


def test_a_strided_bias_and_strided_norm() -> None:
    data = conv_data(ConvProblem(2, norm=True))
    assert data.bias is not None
    bias = torch.stack([data.bias, data.bias], 1)[:, 0]
    norm = [torch.stack([t, t], 1)[:, 0] for t in data.norm]
    assert torch.equal(data.run(bias=bias, norm=norm), data.run())


def test_an_empty_batch_gives_an_empty_map() -> None:
    data = conv_data(ConvProblem(out_channels=5))
    assert data.run(x=data.x[:0]).shape == (0, 5, 6, 7)


def test_the_input_is_left_as_it_was() -> None:
    data = conv_data(ConvProblem(2, residual=True, relu=True))
    assert data.residual is not None
    x, residual = data.x.clone(), data.residual.clone()
    data.run()
    assert torch.equal(data.x, x)
    assert torch.equal(data.residual, residual)


def test_many_input_sizes_in_turn() -> None:
    # More than a layer keeps plans for, each met twice.
    data = conv_data(ConvProblem(density=0.5))
    for size in [*range(3, 11)] * 2:
        data.x = torch.randn(1, 8, size, size + 1)
        assert_right(data)


def test_an_input_smaller_than_the_kernel_is_refused() -> None:
    data = conv_data(ConvProblem(padding=(0, 0)))
    with pytest.raises(
        ValueError, match=r"expected an input at least as large as .*, got \(1, 8, 2, 7\)"
    ):
        data.run(x=torch.randn(1, 8, 2, 7))


def test_a_residual_of_another_shape_is_refused() -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(
        ValueError, match=r"expected a residual of shape \(1, 8, 6, 7\), got \(1, 8, 6, 6\)"
    ):
        data.run(residual=torch.randn(1, 8, 6, 6))


def test_an_input_of_other_channels_is_refused() -> None:
    data = conv_data(ConvProblem(groups=2, block_rows=1))
    with pytest.raises(ValueError, match=r"expected a map \(N, 8, H, W\), got \(1, 9, 6, 7\)"):
        data.run(x=torch.randn(1, 9, 6, 7))


def test_an_input_without_batch_dimension_is_refused() -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(ValueError, match=r"expected a map \(N, 8, H, W\), got \(8, 6, 7\)"):
        data.run(x=torch.randn(8, 6, 7))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_an_input_of_another_dtype_is_refused(dtype: torch.dtype) -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(TypeError, match=f"expected a float32 map, got {dtype}"):
        data.run(x=data.x.to(dtype))


@pytest.mark.parametrize("name", ["weight", "bias", "residual"])
def test_other_tensors_of_another_dtype_are_refused(name: str) -> None:
    data = conv_data(ConvProblem(residual=True))
    with pytest.raises(TypeError, match=f"expected a float32 {name}, got torch.float16"):
        data.run(**{name: getattr(data, name).half()})


def test_a_norm_of_another_dtype_is_refused() -> None:
    data = conv_data(ConvProblem(norm=True))
    with pytest.raises(TypeError, match=r"expected a float32 var, got torch\.float64"):
        data.run(norm=[*data.norm[:3], data.norm[3].double()])


def test_a_bias_of_another_length_is_refused() -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(ValueError, match=r"expected a bias of shape \(8,\), got \(7,\)"):
        data.run(bias=torch.randn(7))


def test_a_norm_of_another_length_is_refused() -> None:
    data = conv_data(ConvProblem(norm=True))
    with pytest.raises(ValueError, match=r"expected a mean of shape \(8,\), got \(9,\)"):
        data.run(norm=[*data.norm[:2], torch.randn(9), data.norm[3]])


@pytest.mark.parametrize("out_channels", [4, 12])
def test_a_structure_of_another_weight_is_refused(out_channels: int) -> None:
    data = conv_data(ConvProblem())
    other = conv_data(ConvProblem(out_channels=out_channels)).packed
    with pytest.raises(ValueError, match="expected a row_ptr of 9 entries, the last one "):
        data.run(indices=other.indices, row_ptr=other.row_ptr)


def test_indices_without_their_row_ptr_are_refused() -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(ValueError, match="expected a row_ptr of 9 entries, the last one 3, got"):
        data.run(indices=data.packed.indices[:3].clone())


@pytest.mark.parametrize("block_rows", [0, 2, 8])
def test_other_block_heights_are_refused(block_rows: int) -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(ValueError, match=f"expected block_rows of 1 or 4, got {block_rows}"):
        data.run(block_rows=block_rows)


@pytest.mark.parametrize(
    ("name", "message"),
    [("indices", "expected indices of 16 or 32 bits"), ("row_ptr", "expected an int32 row_ptr")],
)
def test_a_structure_of_64_bits_is_refused(name: str, message: str) -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(TypeError, match=rf"{message}, got torch\.int64"):
        data.run(**{name: getattr(data.packed, name).to(torch.int64)})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("stride", (0, 1), "expected strides of at least 1"),
        ("padding", (-1, 0), "expected padding from 0 to"),
        ("dilation", (1, 0), "expected dilation from 1 to"),
    ],
)
def test_an_impossible_geometry_is_refused(name: str, value: tuple[int, int], message: str) -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(ValueError, match=message):
        data.run(**{name: value})


def unasked() -> NoReturn:
    raise AssertionError("the CPU's kernels take every mask")


def test_no_reason_speaks_against_a_float32_problem_on_the_cpu() -> None:
    assert not ops.conv2d_unsupported(
        dtype=torch.float32, device=torch.device("cpu"), weight_shape=(8, 8, 3, 3), fit=unasked
    )


@pytest.mark.parametrize(
    ("dtype", "device", "shape", "groups", "reason"),
    [
        (torch.float16, "cpu", (8, 8, 3, 3), 1, "float16 has no CPU kernel"),
        (torch.float32, "cpu", (8, 8, 3), 1, "a weight of rank 3 has no kernel"),
        (torch.float32, "mps", (8, 8, 3, 3), 1, "mps has no kernel"),
        (torch.float64, "cuda", (8, 8, 3, 3), 1, "float64 has no GPU kernel"),
        (torch.float16, "cuda", (8, 4, 3, 3), 2, "grouped convolutions have no GPU kernel"),
    ],
)
def test_every_unsupported_problem_has_its_reason(
    dtype: torch.dtype, device: str, shape: tuple[int, ...], groups: int, reason: str
) -> None:
    found = ops.conv2d_unsupported(
        dtype=dtype, device=torch.device(device), weight_shape=shape, fit=unasked, groups=groups
    )
    assert found == [reason]


def test_all_reasons_are_told_at_once() -> None:
    found = ops.conv2d_unsupported(
        dtype=torch.float64,
        device=torch.device("cuda"),
        weight_shape=(8, 8, 3),
        fit=unasked,
        groups=2,
    )
    assert len(found) == 3


def _zeroed(weight: torch.Tensor, dim: int, index: int) -> torch.Tensor:
    return weight.index_fill(dim, torch.tensor([index]), 0.0)
