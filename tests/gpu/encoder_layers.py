"""The convolutions of CLIP's RN50, and how fast dense ones can be at most; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpu.emulation.architectures import ARCHITECTURES, dense_lower_bound


@dataclass(frozen=True)
class Layer:
    """A convolution of stride 1 whose output is as large as its input.

    Attributes:
        name: of the first of its kind.
        channels, out_channels: of the maps.
        size: height and width of the maps, in pixels.
        kernel: height and width of the window.
        count: layers of this kind in the encoder.
    """

    name: str
    channels: int
    out_channels: int
    size: int
    kernel: int
    count: int = 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.out_channels, self.channels, self.kernel, self.kernel

    @property
    def padding(self) -> tuple[int, int]:
        return self.kernel // 2, self.kernel // 2

    @property
    def weights(self) -> int:
        return self.out_channels * self.channels * self.kernel**2

    def flops(self, batch: int = 1) -> float:
        """Of the dense layer (1 MAC = 2)."""
        return 2.0 * self.weights * self.size**2 * batch

    def bytes_moved(self, itemsize: int, batch: int = 1) -> float:
        """By the dense layer at least: input, output and weights once."""
        return batch * self.activation_bytes(itemsize) + self.weights * itemsize

    def dense_seconds(self, arch: int, tensor_format: str, batch: int = 1) -> float:
        """Of the dense layer at least, at peak rates: products, and what comes from DRAM."""
        itemsize = 2 if tensor_format == "fp16" else 4
        products = dense_lower_bound(arch, self.flops(batch), tensor_format=tensor_format)
        return max(products, self.bytes_moved(itemsize, batch) / ARCHITECTURES[arch].dram_bytes)

    def activation_bytes(self, itemsize: int) -> float:
        """Of input and output of one image."""
        return float((self.channels + self.out_channels) * self.size**2 * itemsize)

    def __str__(self) -> str:
        return (
            f"{self.name} {self.kernel}x{self.kernel}, {self.channels} to {self.out_channels}, "
            f"{self.size} x {self.size}"
        )


# Those whose bounds are counted, at 640 x 640.
LAYERS = (
    Layer("layer2 conv2", 128, 128, 80, 3),
    Layer("layer3 conv1", 1024, 256, 40, 1),
    Layer("layer3 conv2", 256, 256, 40, 3),
    Layer("layer4 conv2", 512, 512, 20, 3),
)


def rn50_layers(size: int) -> list[Layer]:
    """Every kind of convolution in the four stages for images of size x size, in their order; the
    names are open_clip's. Strides are poolings of their own."""
    found: dict[tuple[int, ...], Layer] = {}
    for name, *geometry in _convolutions(size):
        first = found.get(tuple(geometry), Layer(name, *geometry, count=0))
        found[tuple(geometry)] = Layer(first.name, *geometry, count=first.count + 1)
    return list(found.values())


def _convolutions(size: int) -> Iterator[tuple[str, int, int, int, int]]:
    """Name, channels, out_channels, size and kernel of all of them."""
    channels, before = 64, size // 4
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        planes, after = 64 << (stage - 1), size // 4 >> (stage - 1)
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            yield f"{name}.conv1", channels, planes, before, 1
            yield f"{name}.conv2", planes, planes, before, 3
            yield f"{name}.conv3", planes, 4 * planes, after, 1
            if block == 0:
                yield f"{name}.downsample.0", channels, 4 * planes, after, 1
            channels, before = 4 * planes, after
