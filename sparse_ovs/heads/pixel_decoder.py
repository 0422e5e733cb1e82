"""Pixel decoder: from an encoder's four maps to mask features and three maps for the queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.heads.mask_sizes import NORM_GROUPS, MaskSizes
from sparse_ovs.heads.positions import sine_positions
from sparse_ovs.nn import DeformableAttention, DenseConv2d, TokenLinear
from sparse_ovs.nn.token_linear import inference_on_cpu
from sparse_ovs.ops import group_norm_, group_norm_unsupported

LEVELS = 3  # maps that the attention joins
_STRIP = 4096  # cells whose hidden features, 16 MB, stay in the caches


class PixelDecoder(nn.Module):
    """Multi-scale deformable attention over strides 32, 16 and 8, and one step of a feature pyramid
    to stride 4 (Mask2Former, arXiv 2112.01527, section 3.2.1 and appendix A).

    Args:
        channels: of the encoder's maps, the finest first.
        sizes: see MaskSizes.
    """

    def __init__(self, channels: Sequence[int], sizes: MaskSizes) -> None:
        super().__init__()
        finest, *coarser = channels
        self.input_proj = nn.ModuleList(
            nn.Sequential(DenseConv2d(width, sizes.dim, 1), nn.GroupNorm(NORM_GROUPS, sizes.dim))
            for width in reversed(coarser)
        )
        self.transformer = PixelTransformer(sizes)
        self.adapter_1 = ConvNorm(finest, sizes.dim, 1)
        self.layer_1 = ConvNorm(sizes.dim, sizes.dim, 3)
        self.mask_features = DenseConv2d(sizes.dim, sizes.dim, 1)
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)  # type: ignore[index]
            nn.init.zeros_(projection[0].bias)  # type: ignore[index]
        nn.init.kaiming_uniform_(self.mask_features.weight, a=1)
        nn.init.zeros_(self.mask_features.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor], project: bool = True) -> tuple[Tensor, list[Tensor]]:
        """The encoder's maps, each (N, C, h, w), the finest first.

        Args:
            project: whether `mask_features`, the last convolution, is applied.

        Returns:
            mask features (N, dim, h, w) at the finest map's size, and the maps that queries read,
            each (N, dim, h, w), the coarsest first.
        """
        # Sampling places and sums over thousands of cells want fp32 under autocast too.
        with torch.autocast(maps[0].device.type, enabled=False):
            finest, *coarser = (x.to(self.mask_features.weight.dtype) for x in maps)
            levels = self.transformer(
                [project(x) for project, x in zip(self.input_proj, reversed(coarser), strict=True)]
            )
            finest = self.layer_1(self.adapter_1(finest, above=levels[-1]), relu=True)
            return self.mask_features(finest) if project else finest, levels


class PixelTransformer(nn.Module):
    """Deformable attention layers over all cells of several maps.

    Args:
        sizes: see MaskSizes.
    """

    def __init__(self, sizes: MaskSizes) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(LEVELS, sizes.dim))
        self.layers = nn.ModuleList(PixelLayer(sizes) for _ in range(sizes.pixel_layers))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """LEVELS maps (N, dim, h, w) -> the same shapes."""
        shapes = [(x.shape[2], x.shape[3]) for x in maps]
        source = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1)
        dim = source.shape[-1]
        positions = torch.cat(
            [
                sine_positions(height, width, dim, source) + level
                for (height, width), level in zip(shapes, self.level_embed, strict=True)
            ]
        )
        # Every cell looks around its own centre, on each level.
        centres = torch.cat([cell_centres(height, width, source) for height, width in shapes])
        reference = centres[None, :, None].expand(1, -1, LEVELS, 2)
        spare = None  # new pages cost more than what is written into them
        for layer in self.layers:
            source, spare = layer(source, positions, reference, shapes, spare), source
        parts = source.split([height * width for height, width in shapes], 1)
        return [as_map(part, shape) for part, shape in zip(parts, shapes, strict=True)]


class PixelLayer(nn.Module):
    """Deformable attention and a feed-forward network, each with a residual and then a norm.

    Args:
        sizes: see MaskSizes.
    """

    def __init__(self, sizes: MaskSizes) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(sizes.dim, sizes.heads, LEVELS, sizes.points)
        self.norm1 = nn.LayerNorm(sizes.dim)
        self.linear1 = TokenLinear(sizes.dim, sizes.pixel_ffn)
        self.linear2 = TokenLinear(sizes.pixel_ffn, sizes.dim)
        self.norm2 = nn.LayerNorm(sizes.dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self,
        source: Tensor,
        positions: Tensor,
        reference: Tensor,
        shapes: Sequence[tuple[int, int]],
        spare: Tensor | None = None,
    ) -> Tensor:
        """(N, S, dim) cells of all levels and (S, dim) positions -> (N, S, dim).

        Args:
            spare: a tensor like source that may be overwritten, and returned.
        """
        # All cells at once: those that look at the same ones then find them in the caches.
        values = self.self_attn.values(source)
        seen = self.self_attn.look(source + positions, reference, values, shapes)
        if not self._by_strips(source):
            return self._feed(source, seen)
        out = torch.empty_like(source) if spare is None else spare
        for first in range(0, source.shape[1], _STRIP):
            strip = slice(first, first + _STRIP)
            out[:, strip] = self._feed(source[:, strip], seen[:, strip])
        return out

    def _by_strips(self, source: Tensor) -> bool:
        """Whether what comes between fits a core's cache; backward and compilers want it whole."""
        return (
            source.device.type == "cpu"
            and not torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
        )

    def _feed(self, source: Tensor, seen: Tensor) -> Tensor:
        """Some cells and what they saw, which is overwritten -> what `forward` gives them."""
        source = self.norm1(seen.add_(source))
        return self.norm2(self.linear2(self.linear1(source).relu_()).add_(source))


class ConvNorm(DenseConv2d):
    """A convolution that keeps the size, without bias, and a GroupNorm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.norm = nn.GroupNorm(NORM_GROUPS, out_channels)
        nn.init.kaiming_uniform_(self.weight, a=1)

    def forward(self, x: Tensor, above: Tensor | None = None, relu: bool = False) -> Tensor:
        """(N, C, h, w) -> (N, D, h, w); then `above` (N, D, h', w'), upsampled, is added, and
        `relu` cuts below 0."""
        y, norm = super().forward(x), self.norm
        if self.native and inference_on_cpu(y, norm.weight) and not group_norm_unsupported(y):
            return group_norm_(y, norm.num_groups, norm.weight, norm.bias, norm.eps, above, relu)
        y = norm(y)
        if above is not None:
            y = y + F.interpolate(above, y.shape[-2:], mode="bilinear", align_corners=False)
        return y.relu() if relu else y


def as_map(cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """(N, h * w, C) -> (N, C, h, w), the same memory seen as channels_last."""
    return cells.unflatten(1, shape).permute(0, 3, 1, 2)


def cell_centres(height: int, width: int, like: Tensor) -> Tensor:
    """(height * width, 2), x and y from 0 to 1 of each cell's centre, row-major."""
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    return torch.stack((x.repeat(height), y.repeat_interleave(width)), -1)
