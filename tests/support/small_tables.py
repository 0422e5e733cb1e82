"""Tables of made-up layers."""

from __future__ import annotations

from collections.abc import Mapping

from sparse_ovs.spectral import SpectralRow, SpectralTable


def row(name: str, alpha: float = 2.0, **values: object) -> SpectralRow:
    made: dict[str, object] = {
        "name": name,
        "shape": (8, 8, 3, 3),
        "eigenvalues": 64,
        "alpha": alpha,
        "fit_distance": 0.1,
        "xmin": 1.0,
        "tail": 32,
        "stable_rank": 10.0,
        "log_spectral_norm": 1.0,
        "entropy": 0.9,
        "alpha_hat": alpha,
        "weight_share": 0.01,
        "mac_share": 0.01,
    }
    return SpectralRow(**{**made, **values})  # type: ignore[arg-type]


def table(alphas: Mapping[str, float], **values: object) -> SpectralTable:
    return SpectralTable("mid", tuple(row(name, alpha, **values) for name, alpha in alphas.items()))
