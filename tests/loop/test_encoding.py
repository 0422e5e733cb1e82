"""State as tensors and JSON: everything comes back with its type and its bits."""

import json
import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparse_ovs.loop.encoding import decode, encode

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_STATES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


def _through_json(state: Any) -> Any:
    tensors, tree = encode(state)
    return decode(tensors, json.loads(json.dumps(tree, allow_nan=False)))


@given(_STATES)
def test_nested_state_comes_back_equal_and_with_its_types(state: Any) -> None:
    # repr tells 1 from True, 1.0 and "1", a list from a tuple, 0.0 from -0.0
    assert repr(_through_json(state)) == repr(state)


def test_nan_comes_back() -> None:
    assert math.isnan(_through_json([float("nan")])[0])


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(2, 3),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(6)[::2],
        torch.randn(4).to(torch.bfloat16),
        torch.tensor(3),
        torch.tensor([True, False]),
        torch.empty(0, 3),
        torch.tensor([float("nan"), -0.0, float("inf")]),
        nn.Parameter(torch.randn(2)),
    ],
)
def test_tensors_come_back_bit_for_bit(tensor: torch.Tensor) -> None:
    back = _through_json({"a": [tensor]})["a"][0]
    assert type(back) is torch.Tensor
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert back.is_contiguous()
    same = back.view(torch.uint8) if back.dim() else back
    assert torch.equal(same, tensor.detach().contiguous().view(same.dtype))


def test_the_tensors_are_copies_even_where_they_share_memory() -> None:
    base = torch.zeros(4)
    tensors, _ = encode({"all": base, "part": base[:2]})
    base.fill_(1)
    assert [tensor.sum().item() for tensor in tensors.values()] == [0, 0]
    pointers = {tensor.untyped_storage().data_ptr() for tensor in tensors.values()}
    assert len(pointers) == 2


def test_tensors_are_named_by_their_place() -> None:
    tensors, _ = encode({"optimizer": {"state": {0: {"sum": torch.zeros(1)}}}})
    assert list(tensors) == ["optimizer/state/0/sum"]


def test_keys_that_read_alike_are_told_apart() -> None:
    state = {1: torch.tensor(1), "1": torch.tensor(2), "a/b": torch.tensor(3)}
    back = _through_json(state | {"a": {"b": torch.tensor(4)}})
    found = [back[1], back["1"], back["a/b"], back["a"]["b"]]
    assert [tensor.item() for tensor in found] == [1, 2, 3, 4]


def test_an_optimiser_goes_on_from_encoded_state_as_if_nothing_had_been() -> None:
    def optimizer(weight: nn.Parameter) -> torch.optim.Optimizer:
        return torch.optim.AdamW([weight], lr=0.1)

    def step(weight: nn.Parameter, chosen: torch.optim.Optimizer) -> None:
        weight.grad = weight.detach().cos()
        chosen.step()

    one = nn.Parameter(torch.randn(3))
    first = optimizer(one)
    step(one, first)
    two = nn.Parameter(one.detach().clone())
    second = optimizer(two)
    second.load_state_dict(_through_json(first.state_dict()))
    step(one, first)
    step(two, second)
    assert torch.equal(one, two)


def test_an_ordered_dict_comes_back_as_a_dict_in_its_order() -> None:
    back = _through_json(OrderedDict(b=1, a=2))
    assert type(back) is dict
    assert list(back) == ["b", "a"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, {2}]}, r"got set at /a/1"),
        ({"a": object()}, r"got object at /a"),
        (b"bytes", r"got bytes at /"),
        ({"a": {(1, 2): 3}}, r"expected str and int as keys .* got \(1, 2\) at /a"),
        ({"a": {True: 3}}, r"expected str and int as keys .* got True at /a"),
        ([torch.zeros(2, device="meta")], r"expected dense tensors .* got a meta tensor .* at /0"),
        ([torch.eye(2).to_sparse()], r"expected dense tensors .* torch.sparse_coo .* at /0"),
    ],
)
def test_other_types_are_refused_with_their_place(state: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode(state)


@pytest.mark.parametrize("tree", [{"set": []}, {"dict": [], "tuple": []}, {}])
def test_a_tree_of_another_kind_is_refused(tree: Any) -> None:
    with pytest.raises(ValueError, match="expected one "):
        decode({}, tree)
