"""What one training step costs in MACs: forward, input gradients and weight gradients, by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.profiling.hooks import hooked
from sparse_ovs.profiling.macs import LayerMacs, count_macs, layer_weights, weighted_layers

# Products of activations that belong to no layer: attention masks out of queries, einsum, matmul.
OTHER = "(products of no layer)"


@dataclass(frozen=True)
class StepMacs:
    """MACs of one training step over the whole batch."""

    forward: float
    input_gradient: float
    weight_gradient: float

    @property
    def total(self) -> float:
        """All three."""
        return self.forward + self.input_gradient + self.weight_gradient

    def __add__(self, other: StepMacs) -> StepMacs:
        return StepMacs(
            self.forward + other.forward,
            self.input_gradient + other.input_gradient,
            self.weight_gradient + other.weight_gradient,
        )


@dataclass(frozen=True)
class LayerCost:
    """One layer in one step.

    Attributes:
        name: in the model, or OTHER.
        macs: forward MACs, dense and with the weights' zeros left out.
        frozen: its weight takes no gradient.
        passes_gradient: its input needs a gradient, with weights frozen as they are.
        passes_gradient_unfrozen: the same, were nothing frozen.
        weightless: both factors are activations.
    """

    name: str
    macs: LayerMacs
    frozen: bool
    passes_gradient: bool
    passes_gradient_unfrozen: bool
    weightless: bool = False

    def ours(self, frozen: bool = True, sparse: bool = True) -> StepMacs:
        """What the step has to compute: with density d of dense MACs C, forward d C, input gradient
        d C where anything below learns, weight gradient d C where the layer itself does.

        Args:
            frozen: with the weights frozen as they are; else all are trained.
            sparse: zeros are left out in all three; else in none.
        """
        work = float(self.macs.sparse if sparse else self.macs.dense)
        passes = self.passes_gradient if frozen else self.passes_gradient_unfrozen
        if self.weightless:  # a gradient of each factor
            return StepMacs(work, 2 * work if passes else 0.0, 0.0)
        trained = not (frozen and self.frozen)
        return StepMacs(work, work if passes else 0.0, work if trained else 0.0)

    def paper(self, frozen: bool = True, sparse: bool = True) -> StepMacs:
        """The convention of arXiv 2404.07448: forward d C, backward (1 + d) C, of which freezing
        saves d C; the input gradient is C in every layer, the first one included."""
        dense = float(self.macs.dense)
        work = float(self.macs.sparse) if sparse else dense
        if self.weightless:
            return StepMacs(work, 2 * dense, 0.0)
        return StepMacs(work, dense, 0.0 if frozen and self.frozen else work)


@dataclass(frozen=True)
class TrainingCost:
    """A model's layers in one step; sums of them.

    Attributes:
        layers: in module order; products of no layer last, where there are any.
    """

    layers: Sequence[LayerCost]

    def ours(self, frozen: bool = True, sparse: bool = True) -> StepMacs:
        """See `LayerCost.ours`."""
        return sum((one.ours(frozen, sparse) for one in self.layers), StepMacs(0, 0, 0))

    def paper(self, frozen: bool = True, sparse: bool = True) -> StepMacs:
        """See `LayerCost.paper`."""
        return sum((one.paper(frozen, sparse) for one in self.layers), StepMacs(0, 0, 0))

    @property
    def frozen_share(self) -> float:
        """Of all dense forward MACs, those of frozen layers."""
        frozen = sum(one.macs.dense for one in self.layers if one.frozen)
        return frozen / sum(one.macs.dense for one in self.layers)


def training_cost(model: nn.Module, example_input: Any) -> TrainingCost:
    """Counts a step of the model as it is: weights that take no gradient are frozen, zeros are
    sparse.

    Convolutions, linear layers and attentions are counted by layer, other matrix products (einsum,
    matmul) together. Where everything below a layer is frozen, BatchNorm and biases too, its input
    needs no gradient, which is seen as autograd sees it.

    Args:
        model: whole, heads and text tower included; runs in the mode that it is in, with gradients
            but without a backward pass. BatchNorm statistics are put back.
        example_input: what the model takes; takes no gradient itself.
    """
    layers = weighted_layers(model)
    with _statistics_kept(model):
        macs = count_macs(model, example_input)
        other = _products_of_no_layer(model, example_input)
        passes = _passes_gradient(model, example_input)
        with _all_trained(model):
            unfrozen = _passes_gradient(model, example_input)
    found = [
        LayerCost(
            name,
            macs[name],
            not any(weight.requires_grad for weight in layer_weights(layer)),
            passes[name],
            unfrozen[name],
        )
        for name, layer in layers.items()
        if name in macs
    ]
    if other:
        learns = any(p.requires_grad for p in model.parameters())
        found.append(LayerCost(OTHER, LayerMacs(other, other), False, learns, True, True))
    return TrainingCost(found)


def _products_of_no_layer(model: nn.Module, example_input: Any) -> int:
    """MACs of one forward outside of all layers. Inside, torch's counter does not know them all:
    it misses native kernels, and fused attention on the CPU."""
    begun: dict[nn.Module, int] = {}
    inside = 0
    from torch.utils.flop_counter import FlopCounterMode  # imports triton

    with FlopCounterMode(display=False) as counter:

        def enter(layer: nn.Module, *_: Any) -> None:
            begun[layer] = counter.get_total_flops()

        def leave(layer: nn.Module, *_: Any) -> None:
            nonlocal inside
            inside += counter.get_total_flops() - begun[layer]

        layers = weighted_layers(model).values()
        handles = [layer.register_forward_pre_hook(enter) for layer in layers]
        handles += [layer.register_forward_hook(leave) for layer in layers]
        with hooked(handles), torch.enable_grad():
            model(example_input)
    return (counter.get_total_flops() - inside) // 2


def _passes_gradient(model: nn.Module, example_input: Any) -> dict[str, bool]:
    """Whether the input of each layer needs a gradient, in any call."""
    found: dict[str, bool] = {}

    def see(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            given = [v for v in (*inputs, *keywords.values()) if isinstance(v, Tensor)]
            found[name] = found.get(name, False) or any(v.requires_grad for v in given)

        return hook

    handles = [
        layer.register_forward_pre_hook(see(name), with_kwargs=True)
        for name, layer in weighted_layers(model).items()
    ]
    with hooked(handles), torch.enable_grad():
        model(example_input)
    return found


@contextmanager
def _all_trained(model: nn.Module) -> Iterator[None]:
    before = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter, trained in before:
            parameter.requires_grad_(trained)


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
