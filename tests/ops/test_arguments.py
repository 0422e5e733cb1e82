"""The arguments of our ops are spelled out three times, always the same."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

import pytest
import torch

from sparse_ovs import ops
from sparse_ovs.ops.arguments import in_order
from sparse_ovs.ops.conv_call import ConvCall, ConvGradientCall
from sparse_ovs.ops.linear_call import LinearCall, LinearGradientCall
from support.problems import ConvProblem, conv_data


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("conv2d", ConvCall),
        ("conv2d_gradients", ConvGradientCall),
        ("linear", LinearCall),
        ("linear_gradients", LinearGradientCall),
    ],
)
def test_record_and_public_function_have_the_arguments_of_the_schema(
    name: str, record: type[ConvCall]
) -> None:
    schema = [a.name for a in getattr(torch.ops.sparse_ovs, name).default._schema.arguments]
    assert list(signature(record.of).parameters) == schema
    assert list(signature(getattr(ops, name)).parameters) == schema


def test_gradients_are_put_in_the_order_of_the_arguments() -> None:
    def record(x: int, mask: int, bias: int) -> None: ...

    make: Callable[..., None] = record
    assert in_order(make, bias=3, x=1) == (1, None, 3)


@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
def test_a_geometry_of_one_direction_is_refused(name: str) -> None:
    data = conv_data(ConvProblem())
    with pytest.raises(ValueError, match=rf"expected {name} of two numbers, got \(1,\)"):
        data.run(**{name: (1,)})
