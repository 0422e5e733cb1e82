"""SparseMultiheadAttention as a stand-in for nn.MultiheadAttention."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.nn import SparseLinear, SparseMultiheadAttention
from support.oracles import assert_as_exact_as_torch, random_mask

E, HEADS, LENGTH, BATCH = 16, 4, 5, 3


def _pair(batch_first: bool = True, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """The sparse attention, and a dense one with the same zeros."""
    dense = nn.MultiheadAttention(E, HEADS, bias=bias, batch_first=batch_first)
    if bias:
        nn.init.normal_(dense.in_proj_bias)
        nn.init.normal_(dense.out_proj.bias)
    sparse = SparseMultiheadAttention.from_dense(
        copy.deepcopy(dense), random_mask((3 * E, E), 0.4), random_mask((E, E), 0.4, seed=1)
    )
    dense.load_state_dict(sparse.state_dict())
    return sparse.eval(), dense.eval()


def _watch(attention: nn.Module) -> list[bool]:
    """Grows with every native call of the output projection."""
    calls: list[bool] = []
    attention.out_proj.register_forward_hook(lambda *_: calls.append(True))
    return calls


def _input(batch_first: bool) -> Tensor:
    return torch.randn(BATCH, LENGTH, E) if batch_first else torch.randn(LENGTH, BATCH, E)


def _masks() -> dict[str, Tensor | None]:
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    return {
        "none": None,
        "bool": causal,
        "float": torch.randn(LENGTH, LENGTH),
        "by head": torch.randn(BATCH * HEADS, LENGTH, LENGTH),
        "bool by head": causal.expand(BATCH * HEADS, -1, -1),
    }


@pytest.mark.parametrize("mask", _masks())
@pytest.mark.parametrize("batch_first", [True, False])
def test_self_attention_runs_sparse_and_computes_what_dense_computes(
    batch_first: bool, mask: str
) -> None:
    sparse, dense = _pair(batch_first)
    x, attn_mask = _input(batch_first), _masks()[mask]
    calls = _watch(sparse)
    with torch.no_grad():
        y, weights = sparse(x, x, x, need_weights=False, attn_mask=attn_mask)
        fp32 = dense(x, x, x, need_weights=False, attn_mask=attn_mask)[0]
        wide = attn_mask
        if wide is not None and wide.is_floating_point():
            wide = wide.double()
        x = x.double()
        fp64 = dense.double()(x, x, x, need_weights=False, attn_mask=wide)[0]
    assert weights is None
    assert calls == [True]
    assert_as_exact_as_torch(y, fp64, fp32)


def test_attention_without_biases_works() -> None:
    sparse, dense = _pair(bias=False)
    x = _input(True)
    with torch.no_grad():
        ours, theirs = (m(x, x, x, need_weights=False)[0] for m in (sparse, dense))
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    "how",
    [
        {"need_weights": True},
        {"need_weights": True, "average_attn_weights": False},
        {"need_weights": False, "key_padding_mask": torch.tensor([[False] * 4 + [True]] * 3)},
    ],
)
def test_other_calls_run_torchs_own_forward_on_the_masked_weights(how: dict[str, object]) -> None:
    sparse, dense = _pair()
    x = _input(True)
    with torch.no_grad():
        ours, theirs = sparse(x, x, x, **how), dense(x, x, x, **how)
    assert torch.allclose(ours[0], theirs[0], atol=1e-6)
    if how["need_weights"]:
        assert torch.allclose(ours[1], theirs[1], atol=1e-6)
    else:
        assert ours[1] is None


def test_cross_attention_and_unbatched_input_run_dense() -> None:
    sparse, dense = _pair()
    x, memory = _input(True), torch.randn(BATCH, 7, E)
    with torch.no_grad():
        for arguments in ((x, memory, memory), (x[0], x[0], x[0])):
            assert torch.allclose(sparse(*arguments)[0], dense(*arguments)[0], atol=1e-6)


def test_training_gives_pruned_weights_no_gradient() -> None:
    sparse, _ = _pair()
    sparse.train()
    x = _input(True)
    sparse(x, x, x, need_weights=False)[0].square().sum().backward()
    for view, gradient in (
        (sparse.in_proj, sparse.in_proj_weight.grad),
        (sparse.out_proj, sparse.out_proj.weight.grad),
    ):
        assert gradient is not None
        assert gradient[view.mask].any()
        assert not gradient[~view.mask].any()


def test_the_state_dict_has_the_dense_keys_and_loading_re_applies_the_masks() -> None:
    sparse, dense = _pair()
    assert list(sparse.state_dict()) == list(dense.state_dict())
    full = nn.MultiheadAttention(E, HEADS, batch_first=True)
    sparse.load_state_dict(full.state_dict())
    assert torch.equal(sparse.in_proj_weight, full.in_proj_weight * sparse.in_proj.mask)
    assert torch.equal(sparse.out_proj.weight, full.out_proj.weight * sparse.out_proj.mask)
    x = _input(True)
    dense.load_state_dict(sparse.state_dict())
    with torch.no_grad():
        ours, theirs = (m(x, x, x, need_weights=False)[0] for m in (sparse, dense))
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_their_projections_tied_to_their_own_parameters(clone: object) -> None:
    sparse, _ = _pair()
    twin = clone(sparse)  # type: ignore[operator]
    x = _input(True)
    with torch.no_grad():
        y = sparse(x, x, x, need_weights=False)[0]
        assert torch.equal(twin(x, x, x, need_weights=False)[0], y)
        twin.in_proj_weight.zero_()
        assert twin.in_proj.weight is twin.in_proj_weight
        assert not torch.equal(twin(x, x, x, need_weights=False)[0], y)
        assert torch.equal(sparse(x, x, x, need_weights=False)[0], y)


def test_another_dtype_runs_dense_and_float_runs_sparse_again() -> None:
    sparse, dense = _pair()
    x = _input(True)
    sparse.double()
    assert sparse.reason == "float64 has no CPU kernel"
    with torch.no_grad():
        wide = x.double()
        assert sparse(wide, wide, wide, need_weights=False)[0].dtype == torch.float64
        sparse.float()
        assert sparse.reason == ""
        ours, theirs = (m(x, x, x, need_weights=False)[0] for m in (sparse, dense))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_to_dense_gives_a_plain_attention_with_the_same_parameters() -> None:
    sparse, _ = _pair()
    dense = sparse.to_dense()
    assert type(dense) is nn.MultiheadAttention
    assert not isinstance(dense.out_proj, SparseLinear)
    assert dense.in_proj_weight is sparse.in_proj_weight
    assert "_in_proj" not in vars(dense)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"kdim": 8}, "kdim or vdim differ from embed_dim"),
        ({"add_bias_kv": True}, "bias_k, bias_v or add_zero_attn are used"),
        ({"add_zero_attn": True}, "bias_k, bias_v or add_zero_attn are used"),
    ],
)
def test_what_has_no_sparse_twin_is_refused_with_the_reason(
    how: dict[str, object], reason: str
) -> None:
    attention = nn.MultiheadAttention(E, HEADS, **how)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"expected plain self-attention, got one where {reason}"):
        SparseMultiheadAttention.from_dense(attention)


def test_wrong_features_are_one_line_with_the_layers_name() -> None:
    sparse, _ = _pair()
    sparse.set_layer_name("blocks.0.attn")
    x = torch.randn(2, 5, E + 1)
    with pytest.raises(
        ValueError, match=r"expected 16 features for blocks\.0\.attn\.in_proj, got 17"
    ):
        sparse(x, x, x, need_weights=False)
