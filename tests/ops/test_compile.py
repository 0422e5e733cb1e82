"""The ops under torch's own checks, torch.compile and torch.export."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.formats import pack
from support.oracles import random_sparse_weight
from support.problems import EPS, ConvData, ConvProblem, conv_data


def conv_arguments(data: ConvData) -> tuple[Any, ...]:
    p, packed = data.problem, data.packed
    structure = packed.indices.view(torch.int16), packed.row_ptr, packed.block_rows
    geometry = list(p.stride), list(p.padding), list(p.dilation), p.groups
    tensors = data.x, data.weight, data.mask, data.bias, data.norm, data.residual
    return (*tensors, *structure, *geometry, EPS if p.norm else 0.0, p.relu)


def linear_arguments() -> tuple[Any, ...]:
    weight = random_sparse_weight((9, 12), 0.4)
    packed = pack(weight)
    structure = packed.indices.view(torch.int16), packed.row_ptr, packed.block_rows
    return torch.randn(2, 5, 12), weight, packed.mask(), torch.randn(9), *structure, True


class Block(nn.Module):
    """Convolution, norm and ReLU; pooling; a linear layer over the channels: every op once."""

    def __init__(self) -> None:
        super().__init__()
        data = conv_data(ConvProblem(2, 3, 16, norm=True, bias=False, relu=True))
        self.weight = nn.Parameter(data.weight)
        self.last = nn.Parameter(random_sparse_weight((9, 16), 0.4))
        packed = {"first": data.packed, "second": pack(self.last.detach())}
        for name, part in packed.items():
            self.register_buffer(f"{name}_mask", part.mask())
            self.register_buffer(f"{name}_indices", part.indices.view(torch.int16))
            self.register_buffer(f"{name}_row_ptr", part.row_ptr)
        self.rows = [part.block_rows for part in packed.values()]
        for i, tensor in enumerate(data.norm):
            self.register_buffer(f"norm{i}", tensor)

    def forward(self, x: Tensor) -> Tensor:
        norm = [self.norm0, self.norm1, self.norm2, self.norm3]
        x = ops.conv2d(
            x,
            self.weight,
            self.first_mask,
            None,
            norm,
            None,
            self.first_indices,
            self.first_row_ptr,
            self.rows[0],
            (1, 1),
            (1, 1),
            (1, 1),
            1,
            EPS,
            True,
        )
        x = ops.avg_pool2x2(x).mean((2, 3))
        return ops.linear(
            x,
            self.last,
            self.second_mask,
            None,
            self.second_indices,
            self.second_row_ptr,
            self.rows[1],
        )


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("everything", [False, True])
def test_conv2d_keeps_to_the_rules_of_a_torch_operator(everything: bool, layout: str) -> None:
    problem = ConvProblem(
        2, 4, 8, (5, 6), bias=everything, norm=everything, residual=everything, relu=everything
    )
    data = conv_data(problem.but(layout=layout))
    for tensor in (data.x, data.weight):
        tensor.requires_grad_()
    torch.library.opcheck(torch.ops.sparse_ovs.conv2d.default, conv_arguments(data))


def test_linear_keeps_to_the_rules_of_a_torch_operator() -> None:
    arguments = linear_arguments()
    for tensor in arguments[:2]:
        tensor.requires_grad_()
    torch.library.opcheck(torch.ops.sparse_ovs.linear.default, arguments)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_avg_pool_keeps_to_the_rules_of_a_torch_operator(form: torch.memory_format) -> None:
    x = torch.randn(2, 3, 7, 6).contiguous(memory_format=form).requires_grad_()
    torch.library.opcheck(torch.ops.sparse_ovs.avg_pool2x2.default, (x,))


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_compiles_as_one_graph(form: torch.memory_format) -> None:
    torch._dynamo.reset()
    block = Block()
    x = torch.randn(2, 3, 8, 10).contiguous(memory_format=form)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.equal(compiled(x), block(x))


def test_a_compiled_graph_notices_a_write_to_the_weight() -> None:
    torch._dynamo.reset()
    block = Block()
    x = torch.randn(2, 3, 8, 10)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        compiled(x)
        block.weight.mul_(2)
        assert torch.equal(compiled(x), block(x))


def test_compiled_gradients_are_the_eager_ones() -> None:
    torch._dynamo.reset()
    block = Block()
    x = torch.randn(2, 3, 8, 10)
    leaves = [block.weight, block.last]
    eager = torch.autograd.grad(block(x).square().sum(), leaves)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(x).square().sum(), leaves)
    for ours, expected in zip(found, eager, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.slow
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_compiles_with_inductor_for_a_changing_batch(form: torch.memory_format) -> None:
    torch._dynamo.reset()
    block = Block()
    compiled = torch.compile(block, fullgraph=True, dynamic=True)
    for batch in (2, 5, 17):
        x = torch.randn(batch, 3, 8, 10).contiguous(memory_format=form)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), block(x))


def test_exports_with_a_dynamic_batch() -> None:
    block = Block().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    x = torch.randn(2, 3, 8, 10)
    program = torch.export.export(block, (x,), dynamic_shapes=({0: batch},))
    for count in (1, 2, 17):
        x = torch.randn(count, 3, 8, 10)
        assert torch.equal(program.module()(x), block(x))


def test_an_exported_program_keeps_the_ops_whole() -> None:
    program = torch.export.export(Block().eval(), (torch.randn(2, 3, 8, 10),))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    ours = {name for name in called if name.startswith("sparse_ovs.")}
    assert ours == {f"sparse_ovs.{name}.default" for name in ("conv2d", "linear", "avg_pool2x2")}


def test_fake_tensors_get_the_shape_and_strides_of_real_ones() -> None:
    for layout in ("contiguous", "channels_last", "strided"):
        data = conv_data(ConvProblem(2, 3, 4, (9, 8), stride=(2, 1), layout=layout))
        arguments = conv_arguments(data)
        with torch._subclasses.FakeTensorMode() as mode:
            fakes = [mode.from_tensor(a) if isinstance(a, Tensor) else a for a in arguments]
            fake = torch.ops.sparse_ovs.conv2d(*fakes)
        real = data.run()
        assert (fake.shape, fake.stride()) == (real.shape, real.stride())
