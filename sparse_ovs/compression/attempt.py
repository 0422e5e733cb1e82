"""One compression to given densities by layer: pruning, repair, rounding, and scales of maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import monotonic

import torch
from torch import Tensor

from sparse_ovs.compression.allocation import Densities
from sparse_ovs.compression.dense_encoder import DenseEncoder
from sparse_ovs.compression.layers import Layer
from sparse_ovs.compression.one_layer import CompressedLayer, compress_layer, round_layer
from sparse_ovs.compression.repair import Repaired, repair
from sparse_ovs.compression.settings import CompressionSettings
from sparse_ovs.compression.state import RunState
from sparse_ovs.compression.timing import label_of_layers
from sparse_ovs.compression.walk import Inputs
from sparse_ovs.engine import Quantization
from sparse_ovs.quantization import quantize
from sparse_ovs.quantization.fake import FakeQuantised

_REPAIR = "#repair"  # beside the weights of a repaired module


class Attempt:
    """Compresses a copy of an encoder.

    Args:
        dense: the encoder.
        settings: how.
        densities: kept fraction by layer.
        state: keeps what is done.

    Attributes:
        module, masks, quantization: see Compressed.
        errors: of layers, see CompressedLayer.
        repaired: None without repair.
    """

    def __init__(
        self,
        dense: DenseEncoder,
        settings: CompressionSettings,
        densities: Densities,
        state: RunState,
    ) -> None:
        self._dense, self._settings, self._state = dense, settings, state
        self.module = dense.copy()
        self.masks: dict[str, Tensor] = {}
        self.errors: dict[str, float] = {}
        self.repaired: Repaired | None = None
        self.quantization: Quantization | None = None
        self._scales: dict[str, Tensor] = {}
        # Rounding makes up for its errors, but for those that repair would make anew.
        feedback = settings.precision == "int8" and settings.method == "obs"
        self._prune(densities, feedback and not settings.minutes)
        if settings.minutes:
            self._repair()
            if feedback and not settings.qat:
                self._round()
        if settings.precision == "int8" and not settings.qat:
            self.quantization = self._quantized()

    def _prune(self, densities: Densities, rounds: bool) -> None:
        def visit(number: int, dense: Layer, own: Layer, inputs: Inputs) -> bool:
            def make() -> dict[str, Tensor]:
                density = densities[own.name]
                return compress_layer(dense, own, inputs, density, self._settings, rounds).tensors()

            return self._take(own, self._state.tensors(f"layer-{number:03d}", make))

        self._dense.visit_beside(self.module, visit, "compress")

    def _round(self) -> None:
        def visit(number: int, dense: Layer, own: Layer, inputs: Inputs) -> bool:
            def make() -> dict[str, Tensor]:
                mask = self.masks[own.name]
                return round_layer(dense, own, mask, inputs, self._settings.seed).tensors()

            self._take(own, self._state.tensors(f"rounded-{number:03d}", make))
            return True

        self._dense.visit_beside(self.module, visit, "round")

    def _take(self, layer: Layer, tensors: Mapping[str, Tensor]) -> bool:
        """Writes a layer; whether that changed it."""
        made = CompressedLayer.of(tensors)
        same = made.shift is None and torch.equal(made.weight, layer.weight)
        made.write(layer)
        self.masks[layer.name], self.errors[layer.name] = made.mask, made.error
        if made.scales is not None:
            self._scales[layer.name] = made.scales
        return not same

    def _repair(self) -> None:
        settings = self._settings
        until = monotonic() + 60 * settings.minutes

        def show(step: int, loss: float) -> None:
            left = max(0.0, until - monotonic()) / 60
            text = f"repair, held-out loss {loss:.4f}, at most {left:.1f} min left"
            self._dense.tell(text, step, 0)

        rounds = quantize(self.module, self._dense.batches) if settings.qat else None

        def make() -> dict[str, Tensor]:
            how = repair(
                self._dense.module,
                self.module,
                self.masks,
                settings.pattern,
                self._dense.images,
                settings.minutes,
                settings.lr,
                settings.seed,
                show,
                rounds,
            )
            return {**self.module.state_dict(), _REPAIR: how.numbers()}

        tensors = dict(self._state.tensors("repaired", make))
        self.repaired = Repaired.of(tensors.pop(_REPAIR))
        self.module.load_state_dict(tensors)
        if rounds is not None:
            student = FakeQuantised(self.module, rounds, self.masks)
            self.quantization = student.quantization(self._dense.images.example)

    def _quantized(self) -> Quantization:
        """Scales of maps, with those of the weights that are on their grids already."""
        self._dense.tell("observe maps for int8", 0, 0)
        found = quantize(self.module, self._dense.batches)
        labels = label_of_layers(self.module, self._dense.layers, self._dense.images.example)
        own = {labels[name]: each for name, each in self._scales.items() if name in labels}
        return replace(found, weight_scales={**found.weight_scales, **own})
