"""Every layer's alpha and metrics, with its share of weights and MACs: the table to choose from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.nn.named_weights import weight_owners
from sparse_ovs.profiling.macs import count_macs
from sparse_ovs.profiling.weight_uses import weight_uses
from sparse_ovs.spectral.estimators import find_estimator
from sparse_ovs.spectral.layers import spectral_layers
from sparse_ovs.spectral.metrics import alpha_hat, entropy, log_spectral_norm, stable_rank
from sparse_ovs.spectral.spectrum_cache import cached_spectrum


@dataclass(frozen=True)
class SpectralRow:
    """One layer.

    Attributes:
        name: canonical.
        shape: of the weight.
        eigenvalues: how many there are above 1e-5, in the spectrum that alpha was fitted to.
        alpha, fit_distance, xmin, tail: see `Fit`.
        stable_rank, log_spectral_norm, entropy, alpha_hat: see `metrics`; of the plain spectrum.
        weight_share: of the weights of all convolutions, linear layers and attentions.
        mac_share: of all MACs of one forward; None where no example input was given.
    """

    name: str
    shape: tuple[int, ...]
    eigenvalues: int
    alpha: float
    fit_distance: float
    xmin: float
    tail: int
    stable_rank: float
    log_spectral_norm: float
    entropy: float
    alpha_hat: float
    weight_share: float
    mac_share: float | None


@dataclass(frozen=True)
class SpectralTable:
    """Rows in module order, and the estimator of alpha."""

    estimator: str
    rows: tuple[SpectralRow, ...]

    def to_pandas(self) -> Any:
        """A pandas.DataFrame, one row a layer.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "expected pandas for to_pandas(), got none: pip install pandas"
            ) from error
        return pandas.DataFrame([asdict(row) for row in self.rows])


def analyse(
    model: nn.Module,
    estimator: str = "mid",
    example_input: Tensor | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> SpectralTable:
    """Spectra of all layers (see `spectral_layers`), read from the cache where they are known.

    Args:
        model: an image encoder; not changed.
        estimator: see ESTIMATORS.
        example_input: (N, C, H, W), to count MACs.
        device: where spectra are computed; None computes where the weights lie.
        progress: called with layer, layers done, all layers.

    Raises:
        ValueError: an unknown estimator, no layers, or all layers together whose spectrum has no
            tail.
    """
    how = find_estimator(estimator)
    layers = spectral_layers(model)
    sizes = {
        name: getattr(module, parameter)
        for name, (module, parameter) in weight_owners(model).items()
    }
    all_weights = sum(weight.numel() for weight in sizes.values())
    uses: dict[str, int] = {}
    all_macs = 0
    if example_input is not None:
        uses = weight_uses(model, example_input, sizes)
        all_macs = sum(layer.dense for layer in count_macs(model, example_input).values())
    rows = []
    problems = []
    for done, layer in enumerate(layers, 1):
        try:
            plain = cached_spectrum(layer.weight, device=device)
            tail_of = (
                cached_spectrum(layer.weight, windows=True, device=device) if how.windows else plain
            )
            fit = how.fit(tail_of)
        except ValueError as error:
            problems.append(f"{layer.name} ({error})")
            continue
        count = layer.weight.numel()
        macs = uses.get(layer.owner, 0) * count
        rows.append(
            SpectralRow(
                name=layer.name,
                shape=tuple(layer.weight.shape),
                eigenvalues=len(tail_of),
                alpha=fit.alpha,
                fit_distance=fit.fit_distance,
                xmin=fit.xmin,
                tail=fit.tail,
                stable_rank=stable_rank(plain),
                log_spectral_norm=log_spectral_norm(plain),
                entropy=entropy(plain),
                alpha_hat=alpha_hat(fit, plain),
                weight_share=count / all_weights,
                mac_share=macs / all_macs if all_macs else None,
            )
        )
        if progress is not None:
            progress(layer.name, done, len(layers))
    if problems:
        raise ValueError(f"expected layers with a tail, got others: {', '.join(problems)}")
    return SpectralTable(estimator, tuple(rows))
