"""Moments of a layer's inputs, streamed over images: all that its compression needs to know."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.compression.layer_problem import LayerProblem
from sparse_ovs.compression.matrices import as_matrices

# Numbers of unfolded inputs that are multiplied at once: 64 MB in float32.
_BLOCK = 1 << 24


class InputMoments:
    """Gathers the moments of a convolution's or linear layer's inputs.

    A convolution's inputs are unfolded at every output pixel, or at some. Products are made in
    float32, a block of samples at a time, and summed in float64.

    Args:
        layer: nn.Conv2d, of any groups, stride, padding and dilation, or nn.Linear (its weight
            is read when inputs are added).
        pixels_per_image: so many output pixels of each image, drawn without replacement, for a
            linear layer positions; None: all.
        seed: of the draw; the images' order matters too.

    Raises:
        TypeError: another layer.
    """

    def __init__(
        self, layer: nn.Module, pixels_per_image: int | None = None, seed: int = 0
    ) -> None:
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            raise TypeError(f"expected nn.Conv2d or nn.Linear, got {type(layer).__name__}")
        self._layer = layer
        self._groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        self._pixels = pixels_per_image
        self._random = torch.Generator().manual_seed(seed)
        self._count = 0
        groups, rows, columns = as_matrices(layer.weight, self._groups).shape
        self._gram = torch.zeros(groups, columns, columns, dtype=torch.float64)
        self._cross: Tensor | None = None  # as the gram, until inputs differ
        self._power = torch.zeros(groups, rows, dtype=torch.float64)
        self._dense_sum = torch.zeros(groups, columns, dtype=torch.float64)
        self._compressed_sum = torch.zeros(groups, columns, dtype=torch.float64)

    @torch.no_grad()
    def add(self, dense_input: Tensor, compressed_input: Tensor) -> None:
        """Adds the layer's inputs for some images, in the dense and in the compressed network.

        Args:
            dense_input: float32 (N, C, H, W), for a linear layer (N, ..., C).
            compressed_input: of the same shape; the same tensor where nothing before the layer was
                compressed, which takes half the time.

        Raises:
            ValueError: inputs of different shapes, or that do not fit the layer.
        """
        if dense_input.shape != compressed_input.shape:
            raise ValueError(
                f"expected inputs of one shape, got {tuple(dense_input.shape)} and "
                f"{tuple(compressed_input.shape)}"
            )
        layer = self._layer
        channels = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
        if dense_input.shape[1 if isinstance(layer, nn.Conv2d) else -1] != channels:
            raise ValueError(
                f"expected inputs of {channels} channels, got shape {tuple(dense_input.shape)}"
            )
        same = dense_input is compressed_input
        if not same and self._cross is None:
            self._cross = self._gram.clone()
        weight = as_matrices(self._layer.weight.detach().float(), self._groups)
        # Images at a time, so that what is unfolded stays small.
        images = max(1, _BLOCK // max(1, self._numbers_of_image(dense_input)))
        for dense, compressed in zip(
            dense_input.split(images), compressed_input.split(images), strict=True
        ):
            chosen = self._choose(dense)
            x = self._unfold(dense, chosen)
            self._add(x, x if same else self._unfold(compressed, chosen), weight)

    def problem(self) -> LayerProblem:
        """The problem of the layer with the weights that it has now.

        Raises:
            ValueError: no inputs were added.
        """
        if not self._count:
            raise ValueError("expected inputs before the problem is asked for, got none")
        gram = self._gram / self._count
        return LayerProblem(
            as_matrices(self._layer.weight.detach(), self._groups).clone(),
            gram,
            gram if self._cross is None else self._cross / self._count,
            self._power / self._count,
            self._dense_sum / self._count,
            self._compressed_sum / self._count,
        )

    def _add(self, x: Tensor, compressed: Tensor, weight: Tensor) -> None:
        """Samples (groups, samples, columns)."""
        samples = max(1, _BLOCK // (x.shape[0] * x.shape[2]))
        for one, other in zip(x.split(samples, 1), compressed.split(samples, 1), strict=True):
            self._count += one.shape[1]
            self._gram += other.mT @ other
            if self._cross is not None:
                self._cross += one.mT @ other
            self._power += (weight @ one.mT).square_().sum(2)
            self._dense_sum += one.sum(1)
            self._compressed_sum += other.sum(1)

    def _numbers_of_image(self, x: Tensor) -> int:
        """How many numbers the unfolded samples of an image are."""
        pixels = prod(self._output_size(x))
        return self._samples(pixels) * self._gram.shape[0] * self._gram.shape[1]

    def _samples(self, pixels: int) -> int:
        return pixels if self._pixels is None else min(self._pixels, pixels)

    def _output_size(self, x: Tensor) -> tuple[int, ...]:
        layer = self._layer
        if isinstance(layer, nn.Linear):
            return tuple(x.shape[1:-1])
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        padded = (x.shape[2] + top + bottom, x.shape[3] + left + right)
        return tuple(
            (size - dilation * (taps - 1) - 1) // stride + 1
            for size, dilation, taps, stride in zip(
                padded, layer.dilation, layer.kernel_size, layer.stride, strict=True
            )
        )

    def _choose(self, x: Tensor) -> Tensor:
        """int64 (N, samples): output pixels of each image."""
        pixels = prod(self._output_size(x))
        if self._samples(pixels) == pixels:
            return torch.arange(pixels).expand(x.shape[0], -1)
        return torch.stack(
            [
                torch.randperm(pixels, generator=self._random)[: self._samples(pixels)]
                for _ in range(x.shape[0])
            ]
        )

    def _unfold(self, x: Tensor, chosen: Tensor) -> Tensor:
        """float32 (groups, samples, columns): the inputs of the chosen output pixels."""
        layer, images = self._layer, torch.arange(x.shape[0])[:, None]
        if isinstance(layer, nn.Linear):
            return (
                x.float().reshape(x.shape[0], -1, x.shape[-1])[images, chosen].flatten(0, 1)[None]
            )
        width = self._output_size(x)[1]
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x.float(), layer._reversed_padding_repeated_twice, mode=mode)
        row = x.shape[3]
        first = chosen // width * (layer.stride[0] * row) + chosen % width * layer.stride[1]
        down = torch.arange(layer.kernel_size[0]) * (layer.dilation[0] * row)
        right = torch.arange(layer.kernel_size[1]) * layer.dilation[1]
        taps = (down[:, None] + right).flatten()
        # Channels last, so that each tap is read as one run of memory.
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2).contiguous()
        found = pixels[images[:, :, None], first[:, :, None] + taps].flatten(0, 1)
        by_group = found.unflatten(2, (self._groups, -1))  # (samples, taps, groups, channels)
        return by_group.permute(2, 0, 1, 3).flatten(2)
