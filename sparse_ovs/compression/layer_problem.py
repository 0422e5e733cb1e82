"""What one layer's compressed weights have to do: give the dense layer's outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Of the power of an input, which is summed up in float32: less variance than this is none.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class LayerProblem:
    """min over W' of the mean || W' x~ - W x ||^2.

    x are a layer's inputs in the dense network, x~ the same in the compressed one, so that a layer
    corrects what those before it changed. A convolution's inputs are unfolded; columns are
    tap-major (see `matrices.as_matrices`), groups are problems of their own.

    Attributes:
        weight: (groups, rows, columns), floating point: the dense weights W.
        gram: float64 (groups, columns, columns), mean of x~ x~^T.
        cross: float64 (groups, columns, columns), mean of x x~^T; the gram itself where nothing
            before the layer was compressed.
        target_power: float64 (groups, rows), mean of (w x)^2: what a loss is relative to.
        dense_mean: float64 (groups, columns), mean of x.
        compressed_mean: float64 (groups, columns), mean of x~.
    """

    weight: Tensor
    gram: Tensor
    cross: Tensor
    target_power: Tensor
    dense_mean: Tensor
    compressed_mean: Tensor

    def centred(self) -> LayerProblem:
        """The problem of a layer whose bias is corrected afterwards (`corrected_bias`): errors of
        the outputs' means cost nothing. The means stay those of the inputs."""
        outer = self.compressed_mean[:, None]
        gram = self.gram - self.compressed_mean[:, :, None] * outer
        # What is left of an input that never changes is rounding, and may be negative.
        least = _ROUNDING * self.gram.diagonal(dim1=1, dim2=2)
        constant = gram.diagonal(dim1=1, dim2=2) <= least
        gram = gram.masked_fill(constant[:, :, None] | constant[:, None], 0.0)
        cross = gram
        if not self.unchanged:
            cross = self.cross - self.dense_mean[:, :, None] * outer
            cross = cross.masked_fill(constant[:, None], 0.0)
        mean = torch.einsum("grc,gc->gr", self.weight.double(), self.dense_mean)
        power = (self.target_power - mean**2).clamp_(min=0)
        return replace(self, gram=gram, cross=cross, target_power=power)

    @property
    def unchanged(self) -> bool:
        """Whether the layer's inputs are the dense network's."""
        return self.cross is self.gram

    def row_losses(self, weight: Tensor) -> Tensor:
        """float64 (groups, rows): mean of (w' x~ - w x)^2 for weights of W's shape, not damped."""
        dense = self.weight.double()
        change = weight.double() - dense
        losses = ((change @ self.gram) * change).sum(2)
        if not self.unchanged:
            # In terms of the change no two large numbers cancel where it is small.
            drift = dense @ (self.gram - self.cross)
            losses += 2 * (drift * change).sum(2) + (drift * dense).sum(2)
            losses += self.target_power - ((dense @ self.cross) * dense).sum(2)
        return losses.clamp_(min=0)

    def loss(self, weight: Tensor) -> float:
        """Sum of `row_losses`: mean squared error of the outputs."""
        return float(self.row_losses(weight).sum())

    def relative_loss(self, weight: Tensor) -> float:
        """The loss as a part of the outputs' power; 0 where there is no output."""
        return self.loss(weight) / (float(self.target_power.sum()) or 1.0)

    def damped_gram(self, damping: float = 0.01) -> Tensor:
        """float64 (groups, columns, columns): the gram + damping * its mean diagonal * I, so that
        it has an inverse: inputs may be zero, or fewer than columns."""
        diagonal = self.gram.diagonal(dim1=1, dim2=2)
        return self.gram + torch.diag_embed(self._ridge(damping).expand_as(diagonal))

    def start(self, damping: float = 0.01) -> Tensor:
        """(groups, rows, columns), of W's dtype: the best weights without zeros, by ridge
        regression towards W: (W cross + ridge W) (gram + ridge I)^-1; W where nothing before the
        layer was compressed.

        Pruning starts here: to any W' the damped loss, loss + ridge * || W' - W ||^2, is that of
        the start + (W' - start) damped_gram (W' - start)^T.
        """
        if self.unchanged:
            return self.weight
        dense = self.weight.double()
        drift = dense @ (self.cross - self.gram)
        factor = torch.linalg.cholesky(self.damped_gram(damping))
        change = torch.cholesky_solve(drift.mT, factor).mT
        return (dense + change).to(self.weight.dtype)

    def _ridge(self, damping: float) -> Tensor:
        """float64 (groups, 1)."""
        diagonal = self.gram.diagonal(dim1=1, dim2=2)
        mean = diagonal.mean(1, keepdim=True)
        live = mean[mean > 0]
        # A group whose inputs are all zero may not look dearer to prune than one that works.
        ridge = damping * torch.where(mean > 0, mean, live.min() if live.numel() else 1.0)
        # Where inputs hardly change, centring leaves rounding, which no small ridge outweighs.
        power = (diagonal + self.compressed_mean**2).mean(1, keepdim=True)
        least = 10 * _ROUNDING * power
        drowned = (least > ridge).flatten()
        ridge = torch.maximum(ridge, least)
        # How deep rounding reaches below zero depends on how a CPU sums: outweigh what is there.
        while drowned.any():
            shifted = self.gram + torch.diag_embed(ridge.expand_as(diagonal))
            drowned &= torch.linalg.cholesky_ex(shifted).info > 0
            ridge = torch.where(drowned[:, None], 10 * ridge, ridge)
        return ridge
