"""Parameters, or rows of them, that stay to the bit while optimisers that know them step."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle


class HeldWeights:
    """Holds parameters from now on.

    Whole ones take no gradient. Rows take one of zeros, as soon as backward makes it. No step moves
    either, whatever the optimiser does with a gradient of None or zero (weight decay, momentum, the
    history of LBFGS); the state that an optimiser has for rows stays too. Optimisers need not be
    named: every step in the process is watched, while the model lives.

    Args:
        model: holds the parameters, under names that stay; modules and parameters may be replaced.
        parameters: rows, bool (first dimension,), True = held, by the parameter's name; None holds
            all of it.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor | None]) -> None:
        # Weak, since hooks on all optimisers live as long as the process.
        self._model = weakref.ref(model)
        self._rows = dict(parameters)
        self._learnt = {name: model.get_parameter(name).requires_grad for name in parameters}
        self._kept: dict[int, list[tuple[Tensor, Tensor | None, Tensor]]] = {}
        self._handles: list[RemovableHandle] = []
        for _, parameter, rows in self._parameters():
            if rows is None:
                parameter.requires_grad_(False)
                parameter.grad = None  # or the next step would still use it
            else:
                self._handles.append(_hook_gradient(parameter, rows))
                if parameter.grad is not None:
                    parameter.grad[rows.to(parameter.grad.device)] = 0.0
        if self._rows:
            self._handles += [
                register_optimizer_step_pre_hook(lambda optimizer, *_: self._keep(optimizer)),
                register_optimizer_step_post_hook(lambda optimizer, *_: self._restore(optimizer)),
            ]
        weakref.finalize(model, self._remove_hooks)

    def release(self) -> None:
        """Lets them learn that learnt before."""
        self._remove_hooks()
        for name, parameter, rows in self._parameters():
            if rows is None:
                parameter.requires_grad_(self._learnt[name])
        self._rows.clear()

    def _remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.no_grad()
    def _keep(self, optimizer: Optimizer) -> None:
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        kept = self._kept[id(optimizer)] = []
        for _, parameter, rows in self._parameters():
            if id(parameter) not in stepped:
                continue
            if rows is None:
                if not _skips_none(optimizer):
                    kept.append((parameter, None, parameter.clone()))
                continue
            state = [v for v in optimizer.state.get(parameter, {}).values() if torch.is_tensor(v)]
            same = [v for v in state if v.shape == parameter.shape]
            rows = rows.to(parameter.device)
            kept += [(tensor, rows, tensor[rows]) for tensor in (parameter, *same)]

    @torch.no_grad()
    def _restore(self, optimizer: Optimizer) -> None:
        for tensor, rows, values in self._kept.pop(id(optimizer), ()):
            tensor[... if rows is None else rows] = values

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter, Tensor | None]]:
        model = self._model()
        if model is None:
            return
        for name, rows in self._rows.items():
            owner, _, attribute = name.rpartition(".")
            parameter = getattr(model.get_submodule(owner), attribute, None)
            if isinstance(parameter, nn.Parameter):  # or it has been settled, as prune.remove does
                yield name, parameter, rows


def _skips_none(optimizer: Optimizer) -> bool:
    """It leaves alone what has no gradient, as torch's own do but LBFGS, which takes it for
    zeros and moves it by what it remembers. Then nothing need be copied for every step."""
    return type(optimizer).__module__.startswith("torch.optim.") and type(optimizer) is not LBFGS


def _hook_gradient(parameter: nn.Parameter, held: Tensor) -> RemovableHandle:
    def zero(gradient: Tensor) -> Tensor:
        # Not a product: 0 * nan is nan.
        rows = held.to(gradient.device).view(-1, *[1] * (gradient.dim() - 1))
        return gradient.masked_fill(rows, 0.0)

    # torch takes no hook on a frozen parameter, but keeps one when a parameter is frozen.
    learns = parameter.requires_grad
    handle: RemovableHandle = parameter.requires_grad_(True).register_hook(zero)
    parameter.requires_grad_(learns)
    return handle
