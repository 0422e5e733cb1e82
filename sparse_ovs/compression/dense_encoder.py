"""A dense encoder, and copies of it that are compressed beside it, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.compression.images import Images
from sparse_ovs.compression.layers import Layer, find_layers
from sparse_ovs.compression.sensitivity import sensitivities
from sparse_ovs.compression.walk import Inputs, walk
from sparse_ovs.engine.export import trace
from sparse_ovs.nn.plain import plain_copy

# What is done, steps done of it, and all of its steps (0 where nobody knows).
Tell = Callable[[str, int, int], None]
_SENSITIVITY_IMAGES = 32


class DenseEncoder:
    """An encoder that stays dense, and the images that its copies are compressed on.

    Args:
        module: not changed.
        exclude: see `find_layers`.
        tell: called with what is done.

    Attributes:
        module: a copy, which has CLIP's text tower in common with the one that was given.
        layers: of the copy, those to compress, in the order in which they run.
    """

    def __init__(
        self, module: nn.Module, images: Images, exclude: Sequence[str], tell: Tell
    ) -> None:
        tell("trace the encoder", 0, 0)
        self.module, self.images, self.tell = _copy(module), images, tell
        self.batches = images.batches()
        self._exclude = exclude
        self._graph = trace(self.module, self.batches[0])
        self.layers = find_layers(self.module, self._graph, self.batches[0], exclude)

    def copy(self) -> nn.Module:
        """To compress: its CLIP, too, sees with the copy."""
        return _copy(self.module)

    def visit(self, visit: Callable[[Layer, Inputs], None], doing: str) -> None:
        """Visits the layers, each with its inputs."""
        layers = {each.name: each for each in self.layers}
        numbers = {name: number for number, name in enumerate(layers)}

        def on_layer(name: str, inputs: Inputs) -> bool:
            self.tell(f"{doing} {name}", numbers[name], len(layers))
            visit(layers[name], inputs)
            return False

        walk(self._graph, self._graph, self.batches, _names(self.layers), on_layer)

    def sensitivities(self, seed: int) -> dict[str, float]:
        """By layer, on some of the images: see `sensitivity.sensitivities`."""
        some = self.images.calibration[:_SENSITIVITY_IMAGES]
        self.tell("errors of layers at the outputs", 0, 0)
        one = self.images.example  # a graph of larger batches would hold their gradients at once
        graph = trace(self.module, one)
        layers = find_layers(self.module, graph, one, self._exclude)
        return sensitivities(graph, layers, some.split(1), seed)

    def visit_beside(
        self, copy: nn.Module, visit: Callable[[int, Layer, Layer, Inputs], bool], doing: str
    ) -> None:
        """Visits the layers of a copy beside the dense ones.

        Args:
            copy: of the module.
            visit: called with a layer's number, the dense layer, the copy's, and the inputs of
                both; whether the copy differs from now on.
        """
        graph = trace(copy, self.batches[0])
        layers = find_layers(copy, graph, self.batches[0], self._exclude)
        pairs = {
            own.name: (number, dense, own)
            for number, (dense, own) in enumerate(zip(self.layers, layers, strict=True))
        }

        def on_layer(name: str, inputs: Inputs) -> bool:
            number, dense, own = pairs[name]
            self.tell(f"{doing} {name}", number, len(pairs))
            return visit(number, dense, own, inputs)

        walk(self._graph, graph, self.batches, _names(layers), on_layer)


def _copy(module: nn.Module) -> nn.Module:
    """With CLIP's image tower, made of the backbone's modules; the text tower is shared."""
    if not (isinstance(module, Backbone) and hasattr(module, "clip")):
        return plain_copy(module)
    clip = module.clip
    return plain_copy(module, [part for part in clip.model.children() if part is not clip.visual])


def _names(layers: Sequence[Layer]) -> dict[str, str]:
    return {each.conv.name: each.name for each in layers}
