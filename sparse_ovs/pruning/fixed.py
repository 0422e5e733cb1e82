"""Masks that stay: pruned weights are exactly zero after every step of any optimiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from sparse_ovs.nn.named_weights import weight_owners
from sparse_ovs.nn.wrappers import bare_name, unwrapped

# A module and the name of its weight: parameters may be replaced, modules stay.
_Owner = tuple[nn.Module, str]


class FixedMasks:
    """Holds a model's weights at +0.0 outside the masks.

    At once, and after each step of the attached optimisers, weights outside become zero, whatever
    they were (nan, inf), and so does the optimisers' state of the same shape: momentum wakes
    nothing, weight decay moves nothing. Gradients outside are zero as soon as backward makes them,
    so clipping, norms and a GradScaler's search for inf see kept weights only. Gradient
    accumulation, a skipped step of a GradScaler and DistributedDataParallel change none of this.

    The weights stay plain parameters. What is written into them otherwise, such as a dense
    state_dict, needs `apply`.

    Args:
        model: holds the layers; may be wrapped by DistributedDataParallel or torch.compile.
        masks: bool, True = kept, of the weight's shape, by layer name (see
            `nn.named_weights.weight_owners`); those of wrapped models (`module.layer1.0.conv1`)
            will do.

    Raises:
        ValueError: masks that do not fit the model; lists all of them.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self._owners, self._dead = _fit(model, masks)
        self._optimizers: list[Optimizer] = []
        self._followers: list[dict[str, _Owner]] = []
        self._handles = [self._hook_gradient(*named) for named in _weights(self._owners)]
        self.apply()

    @property
    def masks(self) -> dict[str, Tensor]:
        """The masks by layer name, without a wrapper's prefix."""
        return {name: ~dead for name, dead in self._dead.items()}

    def attach(self, optimizer: Optimizer) -> None:
        """Follows an optimiser, new or in the middle of a run.

        Raises:
            ValueError: it has none of the masked weights.
        """
        known = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(weight) in known for _, weight in _weights(self._owners)):
            raise ValueError("expected an optimiser of the masked weights, got one of others")
        self._optimizers.append(optimizer)
        self._handles.append(
            optimizer.register_step_pre_hook(lambda *_: self._mask_gradients()),
        )
        self._handles.append(
            optimizer.register_step_post_hook(lambda *_: self._mask_weights(optimizer)),
        )
        self._mask_weights(optimizer)

    def follow(self, copy: nn.Module) -> None:
        """Holds a copy of the model, such as an EMA's, at the same zeros: now and when masks
        change. In between an average of zeros is zero.

        Raises:
            ValueError: the masks do not fit it; lists all that do not.
        """
        owners, _ = _fit(copy, self.masks)
        self._followers.append(owners)
        self.apply()

    def update(self, masks: Mapping[str, Tensor]) -> None:
        """Replaces the masks by smaller ones, as a pruning round does, and applies them.

        Raises:
            ValueError: other layers or shapes, or weights kept that were pruned; lists all layers.
        """
        self._replace(masks, may_grow=False)

    @torch.no_grad()
    def apply(self) -> None:
        """Zeroes what lies outside the masks: weights, gradients, optimisers' state, copies."""
        self._mask_gradients()
        self._mask_weights(*self._optimizers)
        for owners in self._followers:
            for name, weight in _weights(owners):
                self._mask(name, weight)

    def remove(self) -> None:
        """Takes all hooks away; the weights stay as they are."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def state_dict(self) -> dict[str, Any]:
        """The masks."""
        return {"masks": self.masks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts masks back, whatever the present ones keep, and applies them.

        Raises:
            ValueError: other layers or shapes; lists all of them.
        """
        self._replace(state["masks"], may_grow=True)

    def _replace(self, masks: Mapping[str, Tensor], may_grow: bool) -> None:
        named = {bare_name(name, self._owners): mask for name, mask in masks.items()}
        problems = [f"{name}: no mask" for name in self._owners if name not in named]
        for name, mask in named.items():
            problem = _problem(self._owners.get(name), mask)
            if not problem and not may_grow:
                woken = int((mask & self._dead_on(name, mask.device)).sum())
                problem = f"keeps {woken} weights that were pruned" if woken else ""
            problems += [f"{name}: {problem}"] if problem else []
        _raise(problems)
        for name in self._owners:
            self._dead[name] = named[name].logical_not()
        self.apply()

    def _hook_gradient(self, name: str, weight: Tensor) -> RemovableHandle:
        def mask(gradient: Tensor) -> Tensor:
            return gradient.masked_fill(self._dead_on(name, gradient.device), 0.0)

        # torch takes no hook on a frozen weight, but keeps one when a weight is frozen.
        trained = weight.requires_grad
        handle = weight.requires_grad_(True).register_hook(mask)
        weight.requires_grad_(trained)
        return handle

    @torch.no_grad()
    def _mask_gradients(self) -> None:
        for name, weight in _weights(self._owners):
            if weight.grad is not None:  # may have been set by hand
                self._mask(name, weight.grad)

    @torch.no_grad()
    def _mask_weights(self, *optimizers: Optimizer) -> None:
        for name, weight in _weights(self._owners):
            self._mask(name, weight)
            for optimizer in optimizers:
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        self._mask(name, value)

    def _mask(self, name: str, tensor: Tensor) -> None:
        # Not a product: 0 * nan is nan, and 0 * -1 is -0.0.
        tensor.masked_fill_(self._dead_on(name, tensor.device), 0.0)

    def _dead_on(self, name: str, device: torch.device) -> Tensor:
        if self._dead[name].device != device:  # the model has moved
            self._dead[name] = self._dead[name].to(device)
        return self._dead[name]


def _weights(owners: Mapping[str, _Owner]) -> Iterator[tuple[str, Tensor]]:
    for name, (module, parameter) in owners.items():
        yield name, getattr(module, parameter)


def _fit(
    model: nn.Module, masks: Mapping[str, Tensor]
) -> tuple[dict[str, _Owner], dict[str, Tensor]]:
    """Owners of the weights, and where each weight is dead, by bare name."""
    known = weight_owners(unwrapped(model))
    owners, dead, problems = {}, {}, []
    for given, mask in masks.items():
        name = bare_name(given, known)
        problem = "given twice" if name in owners else _problem(known.get(name), mask)
        if problem:
            problems.append(f"{name}: {problem}")
        else:
            owners[name], dead[name] = known[name], mask.logical_not()
    _raise(problems)
    return owners, dead


def _problem(owner: _Owner | None, mask: Tensor) -> str:
    """What keeps a mask from fitting a weight; empty if nothing does."""
    if owner is None:
        return "no such layer"
    weight = getattr(*owner)
    if not isinstance(weight, nn.Parameter):  # of torch.nn.utils.prune, or a parametrization
        return "its weight is computed, not a parameter"
    if mask.dtype != torch.bool:
        return f"dtype {mask.dtype}, not bool"
    if mask.shape != weight.shape:
        return f"shape {tuple(mask.shape)}, not {tuple(weight.shape)}"
    return ""


def _raise(problems: list[str]) -> None:
    if problems:
        raise ValueError("expected masks that fit the model, got " + "; ".join(problems))
