"""Masks that stay: pruned weights are exactly zero after every step of any optimiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

_WRAPPERS = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile


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
        masks: bool, True = kept, of the weight's shape, by layer name; those of wrapped models
            (`module.layer1.0.conv1`) will do.

    Raises:
        ValueError: masks that do not fit the model; lists all of them.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self._layers, self._dead = _fit(model, masks)
        self._optimizers: list[Optimizer] = []
        self._followers: list[dict[str, nn.Module]] = []
        self._handles = [self._hook_gradient(name) for name in self._layers]
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
        if not any(id(layer.weight) in known for layer in self._layers.values()):
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
        layers, _ = _fit(copy, self.masks)
        self._followers.append(layers)
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
        for layers in self._followers:
            for name, layer in layers.items():
                self._mask(name, layer.weight)

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
        named = {_bare(name, self._layers): mask for name, mask in masks.items()}
        problems = [f"{name}: no mask" for name in self._layers if name not in named]
        for name, mask in named.items():
            problem = _problem(self._layers.get(name), mask)
            if not problem and not may_grow:
                woken = int((mask & self._dead_on(name, mask.device)).sum())
                problem = f"keeps {woken} weights that were pruned" if woken else ""
            problems += [f"{name}: {problem}"] if problem else []
        _raise(problems)
        for name in self._layers:
            self._dead[name] = named[name].logical_not()
        self.apply()

    def _hook_gradient(self, name: str) -> RemovableHandle:
        weight = self._layers[name].weight
        assert isinstance(weight, nn.Parameter)

        def mask(gradient: Tensor) -> Tensor:
            return gradient.masked_fill(self._dead_on(name, gradient.device), 0.0)

        # torch takes no hook on a frozen weight, but keeps one when a weight is frozen.
        trained = weight.requires_grad
        handle = weight.requires_grad_(True).register_hook(mask)
        weight.requires_grad_(trained)
        return handle

    @torch.no_grad()
    def _mask_gradients(self) -> None:
        for name, weight in self._weights():
            if weight.grad is not None:  # may have been set by hand
                self._mask(name, weight.grad)

    @torch.no_grad()
    def _mask_weights(self, *optimizers: Optimizer) -> None:
        for name, weight in self._weights():
            self._mask(name, weight)
            for optimizer in optimizers:
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        self._mask(name, value)

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, layer in self._layers.items():
            yield name, layer.weight  # type: ignore[misc]

    def _mask(self, name: str, tensor: Any) -> None:
        # Not a product: 0 * nan is nan, and 0 * -1 is -0.0.
        tensor.masked_fill_(self._dead_on(name, tensor.device), 0.0)

    def _dead_on(self, name: str, device: torch.device) -> Tensor:
        if self._dead[name].device != device:  # the model has moved
            self._dead[name] = self._dead[name].to(device)
        return self._dead[name]


def _fit(
    model: nn.Module, masks: Mapping[str, Tensor]
) -> tuple[dict[str, nn.Module], dict[str, Tensor]]:
    """Layers, and where each weight is dead, by bare name."""
    inner = model
    while [f"{name}." for name, _ in inner.named_children()] in ([w] for w in _WRAPPERS):
        inner = next(inner.children())
    modules = dict(inner.named_modules())
    layers, dead, problems = {}, {}, []
    for given, mask in masks.items():
        name = _bare(given, modules)
        problem = "given twice" if name in layers else _problem(modules.get(name), mask)
        if problem:
            problems.append(f"{name}: {problem}")
        else:
            layers[name], dead[name] = modules[name], mask.logical_not()
    _raise(problems)
    return layers, dead


def _bare(name: str, known: Mapping[str, object]) -> str:
    """The name without a wrapper's prefix, unless it is known with it."""
    while name not in known and name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _problem(layer: nn.Module | None, mask: Tensor) -> str:
    """What keeps a mask from fitting a layer; empty if nothing does."""
    if layer is None:
        return "no such layer"
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, nn.Parameter):
        return f"a {type(layer).__name__} has no weight to prune"
    if mask.dtype != torch.bool:
        return f"dtype {mask.dtype}, not bool"
    if mask.shape != weight.shape:
        return f"shape {tuple(mask.shape)}, not {tuple(weight.shape)}"
    return ""


def _raise(problems: list[str]) -> None:
    if problems:
        raise ValueError("expected masks that fit the model, got " + "; ".join(problems))
