"""SparseConv2d and SparseLinear as stand-ins for the torch modules that they replace."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparse_ovs.nn import SparseConv2d, SparseLinear
from support.examples import examples
from support.oracles import assert_as_exact_as_torch, random_mask


def _conv(**changes: object) -> SparseConv2d:
    how: dict[str, object] = {"in_channels": 8, "out_channels": 12, "kernel_size": 3, "padding": 1}
    conv = nn.Conv2d(**{**how, **changes})  # type: ignore[arg-type]
    mask = random_mask(conv.weight.shape, 0.3)
    return SparseConv2d.from_dense(conv, mask, engine="native").eval()


def _linear() -> SparseLinear:
    linear = nn.Linear(16, 12)
    return SparseLinear.from_dense(linear, random_mask((12, 16), 0.3), engine="native").eval()


def _expected(module: nn.Module, x: Tensor, dtype: torch.dtype, **how: int) -> Tensor:
    """What the dense module gives in dtype; `how` is changed in it first."""
    dense = module.to_dense()  # type: ignore[operator]
    dense = copy.deepcopy(dense).to(dtype)
    for name, value in how.items():
        setattr(dense, name, (value, value))
    with torch.no_grad():
        return dense(x.to(dtype))


@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.sampled_from([0, 1, "same", "valid"]),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
    batched=st.booleans(),
)
@settings(max_examples=examples(40))
def test_a_sparse_conv_computes_what_the_dense_conv_with_its_zeros_computes(
    kernel: int,
    stride: int,
    padding: int | str,
    dilation: int,
    groups: int,
    bias: bool,
    batched: bool,
) -> None:
    if padding == "same":
        stride = 1
    conv = _conv(
        kernel_size=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    x = torch.randn(*([2] if batched else []), 8, 9, 11)
    with torch.no_grad():
        y = conv(x)
    if kernel == 1 and stride > 1:  # torch may not survive the convolution itself
        pads = padding if isinstance(padding, int) else 0
        seen, how = F.pad(x, [pads] * 4)[..., ::stride, ::stride], {"stride": 1, "padding": 0}
    else:
        seen, how = x, {}
    expected = [_expected(conv, seen, dtype, **how) for dtype in (torch.float64, torch.float32)]
    assert_as_exact_as_torch(y, *expected)


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_a_padding_without_a_kernel_runs_dense_and_says_so(mode: str) -> None:
    conv = _conv(padding_mode=mode)
    assert conv.reason == f"padding_mode '{mode}' has no kernel"
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        assert torch.equal(conv(x), _expected(conv, x, torch.float32))


def test_same_padding_of_an_even_kernel_runs_dense_and_says_so() -> None:
    conv = _conv(kernel_size=2, padding="same")
    assert conv.reason == "padding 'same' of an even kernel has no kernel"
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        assert torch.equal(conv(x), _expected(conv, x, torch.float32))


@pytest.mark.parametrize("shape", [(16,), (3, 16), (2, 3, 16), (0, 16)])
def test_a_sparse_linear_computes_what_the_dense_linear_with_its_zeros_computes(
    shape: tuple[int, ...],
) -> None:
    linear = _linear()
    x = torch.randn(shape)
    with torch.no_grad():
        y = linear(x)
    expected = [_expected(linear, x, dtype) for dtype in (torch.float64, torch.float32)]
    assert_as_exact_as_torch(y, *expected)


def test_the_weight_is_the_dense_parameter_with_zeros() -> None:
    dense = nn.Conv2d(4, 6, 3)
    mask = random_mask(dense.weight.shape, 0.4)
    before = dense.weight.detach().clone()
    sparse = SparseConv2d.from_dense(dense, mask)
    assert sparse.weight is dense.weight
    assert torch.equal(sparse.weight, before * mask)
    assert isinstance(sparse, nn.Conv2d)


def test_only_the_dense_keys_are_in_the_state_dict() -> None:
    assert list(_conv().state_dict()) == ["weight", "bias"]
    assert list(_linear().state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("assign", [False, True])
def test_loading_a_dense_state_dict_re_applies_the_mask(assign: bool) -> None:
    conv = _conv()
    dense = nn.Conv2d(8, 12, 3, padding=1)
    given_weight = dense.weight.detach().clone()
    conv.load_state_dict(dense.state_dict(), assign=assign)
    assert torch.equal(conv.weight, given_weight * conv.mask)
    assert torch.equal(dense.weight, given_weight)  # the caller's own tensor is not written to
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        y = conv(x)
    expected = [_expected(conv, x, dtype) for dtype in (torch.float64, torch.float32)]
    assert_as_exact_as_torch(y, *expected)


def test_a_dense_module_loads_the_sparse_state_dict() -> None:
    conv = _conv()
    dense = nn.Conv2d(8, 12, 3, padding=1)
    dense.load_state_dict(conv.state_dict())
    assert torch.equal(dense.weight, conv.weight)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("make", [_conv, _linear])
def test_copies_run_native_and_do_not_share_weights(make: object, clone: object) -> None:
    module = make()  # type: ignore[operator]
    x = torch.randn(1, 8, 6, 6) if isinstance(module, SparseConv2d) else torch.randn(3, 16)
    with torch.no_grad():
        y = module(x)
        twin = clone(module)  # type: ignore[operator]
        assert twin.reason == ""
        assert torch.equal(twin(x), y)
        twin.weight.zero_()
        twin.bias.zero_()
        assert not twin(x).any()
        assert torch.equal(module(x), y)


def test_a_module_goes_through_torch_save_and_load() -> None:
    conv, file = _conv(), io.BytesIO()
    torch.save(conv, file)
    file.seek(0)
    twin = torch.load(file, weights_only=False)
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        assert torch.equal(twin(x), conv(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_another_dtype_runs_dense_with_that_reason_and_float_runs_native_again(
    dtype: torch.dtype,
) -> None:
    conv = _conv()
    x = torch.randn(1, 8, 6, 6)
    conv.to(dtype)
    assert conv.reason == f"{str(dtype).removeprefix('torch.')} has no CPU kernel"
    assert conv.mask.dtype == torch.bool
    assert conv.row_ptr.dtype == torch.int32
    with torch.no_grad():
        assert conv(x.to(dtype)).dtype == dtype
        conv.float()
        assert conv.reason == ""
        y = conv(x)
    expected = [_expected(conv, x, d) for d in (torch.float64, torch.float32)]
    assert_as_exact_as_torch(y, *expected)


def test_weights_moved_to_new_memory_are_packed_anew() -> None:
    conv = _conv()
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        conv(x)
        conv.to("meta").to_empty(device="cpu")
        conv.mask.copy_(random_mask(conv.weight.shape, 0.3))
        conv.weight.normal_()
        conv.bias.zero_()
        conv.set_mask(conv.mask)
        y = conv(x)
    expected = [_expected(conv, x, d) for d in (torch.float64, torch.float32)]
    assert_as_exact_as_torch(y, *expected)


def test_in_place_writes_are_noticed_and_data_writes_after_repack() -> None:
    linear = _linear()
    x = torch.randn(2, 16)
    with torch.no_grad():
        before = linear(x) - linear.bias
        linear.weight.mul_(2)
        assert torch.allclose(linear(x) - linear.bias, 2 * before, atol=1e-6)
        linear.weight.data.mul_(2)
        linear.repack()
        assert torch.allclose(linear(x) - linear.bias, 4 * before, atol=1e-6)


@pytest.mark.parametrize("layer", [_conv, _linear])
def test_training_runs_native_and_pruned_weights_get_no_gradient(
    layer: Callable[[], SparseConv2d | SparseLinear], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = layer().train()

    def refuse() -> None:
        raise AssertionError("expected the native path")

    monkeypatch.setattr(module, "_masked_weight", refuse)
    x = torch.randn(2, 8, 6, 6) if isinstance(module, SparseConv2d) else torch.randn(5, 16)
    module(x).square().sum().backward()
    assert module.weight.grad is not None
    assert not module.weight.grad[~module.mask].any()
    assert module.weight.grad[module.mask].any()


def test_double_precision_passes_torchs_gradcheck() -> None:
    conv = SparseConv2d.from_dense(nn.Conv2d(3, 4, 3, padding=1), torch.rand(4, 3, 3, 3) < 0.4)
    conv = conv.double().train()

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x,))

    leaves = [torch.randn(2, 3, 4, 5).double(), conv.weight.detach(), conv.bias.detach()]
    assert torch.autograd.gradcheck(run, [t.clone().requires_grad_() for t in leaves])


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW])
def test_pruned_weights_stay_zero_under_an_optimiser(
    optimiser: type[torch.optim.Optimizer],
) -> None:
    conv = _conv().train()
    steps = optimiser(conv.parameters(), lr=0.1, weight_decay=0.1)  # type: ignore[call-arg]
    for _ in range(3):
        steps.zero_grad()
        conv(torch.randn(2, 8, 6, 6)).square().sum().backward()
        steps.step()
    assert not conv.weight[~conv.mask].any()
    conv.eval()
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        y = conv(x)
    expected = [_expected(conv, x, d) for d in (torch.float64, torch.float32)]
    assert_as_exact_as_torch(y, *expected)


def test_gradients_in_eval_mode_are_those_of_the_masked_dense_conv() -> None:
    conv = _conv()
    x = torch.randn(2, 8, 6, 6, requires_grad=True)
    conv(x).square().sum().backward()
    weight = conv.weight.detach().clone().requires_grad_()
    x2 = x.detach().clone().requires_grad_()
    F.conv2d(x2, weight * conv.mask, conv.bias, padding=1).square().sum().backward()
    assert torch.allclose(x.grad, x2.grad, atol=1e-4)
    assert torch.allclose(conv.weight.grad, weight.grad, atol=1e-3)


def test_autocast_runs_dense_in_its_dtype() -> None:
    conv = _conv()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert conv(torch.randn(1, 8, 6, 6)).dtype == torch.bfloat16


def test_engine_dense_runs_dense_and_says_so() -> None:
    conv = SparseConv2d.from_dense(nn.Conv2d(4, 4, 1), engine="dense")
    assert conv.reason == "engine='dense' was asked for"
    assert "dense (engine='dense' was asked for)" in repr(conv)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="expected engine 'auto', 'native' or 'dense', got 'gpu'"):
        SparseConv2d.from_dense(nn.Conv2d(4, 4, 1), engine="gpu")


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.randn(8, 6), ValueError, "expected input of rank 3 or 4 for stem.conv, got 2"),
        (torch.randn(1, 7, 6, 6), ValueError, "expected 8 input channels for stem.conv, got 7"),
        (
            torch.randn(1, 8, 6, 6).double(),
            TypeError,
            r"expected torch\.float32 input for stem.conv, got torch\.float64",
        ),
        (
            torch.empty(1, 8, 6, 6, device="meta"),
            ValueError,
            "expected input on cpu for stem.conv, got meta",
        ),
    ],
)
def test_wrong_input_is_one_line_with_the_layers_name(
    x: Tensor, error: type[Exception], message: str
) -> None:
    conv = _conv()
    conv.layer_name = "stem.conv"
    with pytest.raises(error, match=message):
        conv(x)


def test_a_linear_refuses_another_number_of_features_with_its_name() -> None:
    linear = _linear()
    linear.layer_name = "head"
    with pytest.raises(
        ValueError, match=r"expected 16 input features for head, got shape \(2, 15\)"
    ):
        linear(torch.randn(2, 15))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.ones(12, 8, 3, 3), TypeError, r"expected a bool mask for .*, got torch\.float32"),
        (
            torch.ones(12, 8, 1, 1, dtype=torch.bool),
            ValueError,
            r"expected a mask of shape \(12, 8, 3, 3\) for .*, got \(12, 8, 1, 1\)",
        ),
    ],
)
def test_a_mask_of_another_kind_is_refused(
    mask: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _conv().set_mask(mask)


def test_an_empty_and_a_full_mask_work() -> None:
    x = torch.randn(1, 8, 6, 6)
    for fill in (False, True):
        conv = _conv()
        conv.set_mask(torch.full_like(conv.mask, fill))
        with torch.no_grad():
            y = conv(x)
        expected = [_expected(conv, x, d) for d in (torch.float64, torch.float32)]
        assert_as_exact_as_torch(y, *expected)
