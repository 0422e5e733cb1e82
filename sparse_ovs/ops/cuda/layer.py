"""What the GPU side of the ops remembers of a layer: its packed weights, and what runs them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from sparse_ovs.formats import MaskFit, fit_mask
from sparse_ovs.ops.by_structure import ByStructure
from sparse_ovs.ops.cuda.choose import TUNER, Choice, choices, unsupported_reasons
from sparse_ovs.ops.cuda.request import Arithmetic
from sparse_ovs.ops.cuda.routes import BLOCKS, BlockSparse
from sparse_ovs.ops.cuda.routes.block_sparse import Packed
from sparse_ovs.ops.layer import Layer, fold_norm
from sparse_ovs.ops.versions import version_of


def _version(layer: Layer) -> Hashable:
    """Changes whenever what `_folded` gives does, a bias without BatchNorm aside."""
    parts = [layer.weight, *layer.norm]
    if layer.norm and layer.bias is not None:
        parts.append(layer.bias)
    return (*map(version_of, parts), layer.eps)


def _folded(layer: Layer) -> tuple[Tensor, Tensor | None]:
    """Weight and bias with the BatchNorm in them."""
    weight, bias = layer.weight, layer.bias
    if not layer.norm:
        return weight, bias
    # In float32, also where the model is in halves.
    bias = None if bias is None else bias.float()
    norm = [part.float() for part in layer.norm]
    scale, bias = fold_norm(bias, norm, layer.eps, weight.shape[0])
    return weight.float() * scale.view(-1, *[1] * (weight.dim() - 1)), bias


class GpuLayer:
    """Packed weights by choice and arithmetic, refreshed when a tensor they come from was written
    to; and the choices that were made."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._fit: MaskFit | None = None
        # By choice, dtype and whether a BatchNorm is in them: what they were packed from, and they.
        self._packed: dict[
            tuple[Choice, torch.dtype, bool], tuple[Hashable, Any, Tensor | None]
        ] = {}
        self._choices: dict[tuple[Hashable, ...], Choice] = {}
        self._bias: tuple[Hashable, Tensor] | None = None

    def run(
        self,
        layer: Layer,
        arithmetic: Arithmetic,
        size: Sequence[Hashable],
        call: Callable[[Choice, Any, Tensor | None], Tensor],
    ) -> Tensor:
        """The layer's output.

        Args:
            layer: what it computes with.
            arithmetic: of the products.
            size: whatever the fastest choice may depend on: shapes, geometry, layout.
            call: runs a choice on packed weights and a float32 bias.

        Raises:
            ValueError: no route runs this layer.
        """
        with self._lock, torch.no_grad():
            choice = self._choice(layer, arithmetic, size, call)
            packed, bias = self._pack(choice, layer, arithmetic)
        return call(choice, packed, bias)

    def blocks(self, layer: Layer, arithmetic: Arithmetic) -> Packed | None:
        """The packed weights of the route that has gradients, those of the last forward pass where
        it took that route; None where the mask is not of blocks."""
        with self._lock, torch.no_grad():
            taken = [c for key, c in self._choices.items() if key[0] == arithmetic]
            candidates = (*reversed(taken), *choices(self._fit_of(layer), arithmetic))
            for choice in candidates:
                if isinstance(choice.route, BlockSparse):
                    return self._pack(choice, layer, arithmetic)[0]
            return None

    def forget(self) -> None:
        """Makes the next call pack again."""
        with self._lock:
            self._packed.clear()
            self._bias = None

    def _choice(
        self,
        layer: Layer,
        arithmetic: Arithmetic,
        size: Sequence[Hashable],
        call: Callable[[Choice, Any, Tensor | None], Tensor],
    ) -> Choice:
        key = (arithmetic, *size)
        known = self._choices.get(key)
        if known is not None:
            return known
        fit = self._fit_of(layer)
        candidates = choices(fit, arithmetic)
        if not candidates:
            reasons = "; ".join(unsupported_reasons(fit, arithmetic))
            raise ValueError(f"expected a sparse layer that a GPU kernel runs, got {reasons}")
        made = self._choices[key] = TUNER.fastest(
            candidates,
            (fit.shape, fit.kept, fit.residue, *fit.slots.values()),
            key,
            layer.weight.device,
            lambda choice: call(choice, *self._pack(choice, layer, arithmetic)),
        )
        # What only lost the race need not stay.
        chosen = set(self._choices.values())
        self._packed = {k: kept for k, kept in self._packed.items() if k[0] in chosen}
        return made

    def _pack(
        self, choice: Choice, layer: Layer, arithmetic: Arithmetic
    ) -> tuple[Any, Tensor | None]:
        key, versions = (choice, arithmetic.dtype, bool(layer.norm)), _version(layer)
        known = self._packed.get(key)
        if known is None or known[0] != versions:
            weight, bias = _folded(layer)
            former = None if known is None else known[1]
            packed = choice.route.pack(weight, layer.mask, choice.variant, arithmetic, former)
            known = self._packed[key] = versions, packed, bias
        return known[1], known[2] if layer.norm else self._plain_bias(layer.bias)

    def _plain_bias(self, bias: Tensor | None) -> Tensor | None:
        """A bias in float32, converted once."""
        if bias is None:
            return None
        version = version_of(bias)
        if self._bias is None or self._bias[0] != version:
            self._bias = version, bias.detach().float().contiguous()
        return self._bias[1]

    def _fit_of(self, layer: Layer) -> MaskFit:
        if self._fit is None:
            self._fit = fit_mask(layer.mask, BLOCKS)
        return self._fit


_layers = ByStructure(GpuLayer)
gpu_layer = _layers.of


def _after_fork() -> None:
    _layers.after_fork()


os.register_at_fork(after_in_child=_after_fork)
