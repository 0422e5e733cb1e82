"""SparseMultiheadAttention: nn.MultiheadAttention with native sparse projections."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.nn.linear import SparseLinear
from sparse_ovs.nn.structure import adopt


class SparseMultiheadAttention(nn.MultiheadAttention):
    """Drop-in self-attention: same call, same state_dict keys, in_proj_weight and out_proj dense
    with zeros.

    Self-attention in eval mode without returned weights runs sparse projections around torch's
    scaled dot product attention. Every other call (cross-attention, need_weights=True,
    key_padding_mask, unbatched input, training) runs torch's own dense forward on the masked
    weights.
    """

    out_proj: SparseLinear  # type: ignore[assignment]

    @staticmethod
    def unsupported_reasons(attention: nn.MultiheadAttention) -> list[str]:
        """Why a dense module cannot be replaced; empty if it can."""
        reasons = []
        if not attention._qkv_same_embed_dim:
            reasons.append("kdim or vdim differ from embed_dim")
        if attention.bias_k is not None or attention.add_zero_attn:
            reasons.append("bias_k, bias_v or add_zero_attn are used")
        return reasons

    @classmethod
    def from_dense(
        cls,
        attention: nn.MultiheadAttention,
        in_mask: Tensor | None = None,
        out_mask: Tensor | None = None,
        pattern: str = "unstructured",
        engine: str = "auto",
    ) -> SparseMultiheadAttention:
        """A sparse twin that shares the parameters; a mask of None keeps the weights that are not
        zero.

        Raises:
            ValueError: the module has no sparse twin (see unsupported_reasons).
        """
        reasons = cls.unsupported_reasons(attention)
        if reasons:
            raise ValueError(f"expected plain self-attention, got one where {'; '.join(reasons)}")
        made = cls.__new__(cls)
        adopt(made, attention)
        made.out_proj = SparseLinear.from_dense(attention.out_proj, out_mask, pattern, engine)
        view = nn.Linear(1, 1, device="meta")
        view.in_features, view.out_features = attention.embed_dim, 3 * attention.embed_dim
        view.weight, view.bias = attention.in_proj_weight, attention.in_proj_bias
        # Outside _modules: the parameters keep their names in the attention module and appear once.
        made.__dict__["_in_proj"] = SparseLinear.from_dense(view, in_mask, pattern, engine)
        made._in_proj.train(made.training)
        return made

    _in_proj: SparseLinear

    def to_dense(self) -> nn.MultiheadAttention:
        """A plain nn.MultiheadAttention that shares the parameters, zeros in place."""
        attention = nn.MultiheadAttention.__new__(nn.MultiheadAttention)
        adopt(attention, self)
        attention.__dict__.pop("_in_proj")
        attention.out_proj = self.out_proj.to_dense()  # type: ignore[assignment]
        attention.out_proj.__class__ = nn.modules.linear.NonDynamicallyQuantizableLinear
        return attention

    @property
    def in_proj(self) -> SparseLinear:
        """The sparse view of in_proj_weight, with its mask, density and reason."""
        return self._in_proj

    @property
    def reason(self) -> str:
        """Why the projections run dense; empty where they run sparse kernels."""
        return self._in_proj.reason or self.out_proj.reason

    def set_layer_name(self, name: str) -> None:
        """Names the projections for error messages."""
        self._in_proj.layer_name = f"{name}.in_proj"
        self.out_proj.layer_name = f"{name}.out_proj"

    def train(self, mode: bool = True) -> SparseMultiheadAttention:
        super().train(mode)
        self._in_proj.train(mode)
        return self

    def _share_parameters(self) -> None:
        """Loading with assign=True and `.to()` may replace parameters: the view follows."""
        view = self._in_proj
        view._parameters["weight"], view._parameters["bias"] = (
            self.in_proj_weight,
            self.in_proj_bias,
        )

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        result = super()._apply(fn, recurse)
        self._share_parameters()
        view = self._in_proj
        for name, buffer in view._buffers.items():
            view._buffers[name] = fn(buffer)
        ops.invalidate(view.indices)
        view._refresh_reason()
        return result

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):  # type: ignore[no-untyped-def]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        mask = self._in_proj.mask
        with torch.no_grad():
            if local_metadata.get("assign_to_params_buffers", False):
                kept = self.in_proj_weight * mask.to(self.in_proj_weight.device)
                self.in_proj_weight = nn.Parameter(kept, self.in_proj_weight.requires_grad)
            else:
                self.in_proj_weight.mul_(mask)
        self._share_parameters()
        ops.invalidate(self._in_proj.indices)
        self._in_proj._refresh_reason()

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if query.dim() == 3 and query.shape[-1] != self.embed_dim:
            raise ValueError(
                f"expected {self.embed_dim} features for {self._in_proj.layer_name}, "
                f"got {query.shape[-1]}"
            )
        sparse = (
            query is key
            and key is value
            and query.dim() == 3
            and not need_weights
            and key_padding_mask is None
            and not self.training
            and not (is_causal and attn_mask is None)  # torch refuses that with its own message
            and self._in_proj._runs_sparse(query)
        )
        if sparse:
            return self._self_attention(query, attn_mask), None
        return self._dense(
            query,
            key,
            value,
            key_padding_mask,
            need_weights,
            attn_mask,
            average_attn_weights,
            is_causal,
        )

    def _self_attention(self, x: Tensor, attn_mask: Tensor | None) -> Tensor:
        """x: (L, N, E), or (N, L, E) with batch_first; attn_mask: (L, L) or (N * heads, L, L)."""
        if not self.batch_first:
            x = x.transpose(0, 1)
        batch, length, _ = x.shape
        q, k, v = (
            part.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for part in self._in_proj(x).chunk(3, dim=-1)
        )  # each (N, heads, L, head_dim)
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:
                attn_mask = ~attn_mask  # here True hides, in scaled_dot_product_attention it shows
            if attn_mask.dim() == 3:
                attn_mask = attn_mask.view(batch, self.num_heads, length, length)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask)
        y = self.out_proj(y.transpose(1, 2).flatten(2))
        return y if self.batch_first else y.transpose(0, 1)

    def _dense(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        need_weights: bool,
        attn_mask: Tensor | None,
        average_attn_weights: bool,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """torch's forward on weights whose pruned places get no gradient."""
        swap = self.batch_first and query.dim() == 3
        if swap:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        y, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self._in_proj._masked_weight(),
            self.in_proj_bias,
            None,
            None,
            False,
            self.dropout,
            self.out_proj._masked_weight(),
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (y.transpose(0, 1) if swap else y), weights
