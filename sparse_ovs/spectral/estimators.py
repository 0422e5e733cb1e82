"""Alpha, the exponent of a spectrum's tail: where the tail begins, and how well a power law fits.

All estimators share one maximum likelihood formula and differ in where they let the tail begin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

_BINS = 100  # of the histogram whose peak the peak estimators look for
_BELOW, _ABOVE = 0.95, 1.5  # of the peak: where they look for the beginning of the tail


@dataclass(frozen=True)
class Fit:
    """A power law p(x) ~ x^-alpha for the eigenvalues from xmin up.

    Attributes:
        alpha: the exponent, above 1; small means heavy-tailed.
        fit_distance: Kolmogorov-Smirnov distance between the tail and the power law, 0 to 1.
        xmin: the eigenvalue that the tail begins with.
        tail: how many eigenvalues it has.
    """

    alpha: float
    fit_distance: float
    xmin: float
    tail: int

    @property
    def standard_error(self) -> float:
        """Of alpha, were the tail a power law: (alpha - 1) / sqrt(tail) (Clauset et al. 2009,
        eq. 3.2)."""
        return (self.alpha - 1) / math.sqrt(self.tail)


def mid(eigenvalues: Tensor) -> Fit:
    """The tail is the upper half: it begins at index floor(N / 2).

    Args:
        eigenvalues: (N,) positive, ascending.

    Raises:
        ValueError: eigenvalues that are not so, or a tail with fewer than two different ones.
    """
    values = _checked(eigenvalues)
    return _best(values, [len(values) // 2])


def peak(eigenvalues: Tensor) -> Fit:
    """The tail begins near the spectrum's peak, where the power law fits best.

    The peak is the left edge of the fullest of 100 bins of log10; the tail may begin at any
    eigenvalue from 0.95 to 1.5 times that. Args and Raises as for `mid`.
    """
    values = _checked(eigenvalues)
    top = _peak(values)
    return _best(values, _between(values, _BELOW * top, _ABOVE * top))


def peak_released(eigenvalues: Tensor) -> Fit:
    """`peak` as OpenTrans released it: the lower bound is log10(0.95 peak), and excludes nothing.

    The search so runs from the smallest eigenvalue to 1.5 times the peak, and may begin the tail
    far below the peak. Kept to compare with published numbers. Args and Raises as for `mid`.
    """
    values = _checked(eigenvalues)
    top = _peak(values)
    return _best(values, _between(values, math.log10(_BELOW * top), _ABOVE * top))


def ks(eigenvalues: Tensor) -> Fit:
    """The tail begins where the power law fits best, of all eigenvalues (Clauset et al. 2009,
    section 3.3). Args and Raises as for `mid`."""
    values = _checked(eigenvalues)
    return _best(values, range(len(values)))


@dataclass(frozen=True)
class Estimator:
    """How alpha is estimated.

    Attributes:
        fit: eigenvalues -> Fit.
        windows: it takes the spectrum of square windows (see `spectrum`).
    """

    fit: Callable[[Tensor], Fit]
    windows: bool = False


ESTIMATORS: dict[str, Estimator] = {
    "mid": Estimator(mid),
    "peak": Estimator(peak),
    "peak_released": Estimator(peak_released),
    "ks": Estimator(ks),
    "farms": Estimator(mid, windows=True),
}


def find_estimator(name: str) -> Estimator:
    """The estimator of that name.

    Raises:
        ValueError: no such estimator.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"expected an estimator of {', '.join(ESTIMATORS)}, got {name!r}")
    return ESTIMATORS[name]


def _checked(eigenvalues: Tensor) -> np.ndarray:
    values: np.ndarray = eigenvalues.detach().cpu().double().numpy()
    if values.ndim != 1 or len(values) < 3:
        raise ValueError(f"expected at least 3 eigenvalues, got shape {values.shape}")
    if not (np.isfinite(values).all() and values[0] > 0 and (np.diff(values) >= 0).all()):
        raise ValueError("expected finite positive eigenvalues in ascending order, got others")
    return values


def _peak(values: np.ndarray) -> float:
    counts, edges = np.histogram(np.log10(values), bins=_BINS)
    return float(10 ** edges[np.argmax(counts)])


def _between(values: np.ndarray, low: float, high: float) -> Iterable[int]:
    return range(
        int(np.searchsorted(values, low, "left")), int(np.searchsorted(values, high, "right"))
    )


def _best(values: np.ndarray, starts: Iterable[int]) -> Fit:
    """The fit of smallest distance; the first of equal ones."""
    logs = np.log(values)
    best: tuple[float, float, int] | None = None
    for start in starts:
        above = logs[start:] - logs[start]  # ln(lambda_j / lambda_i), j >= i
        total = above.sum()
        if total <= 0:  # no two different eigenvalues are left, alpha would be infinite
            continue
        count = len(above)
        slope = count / total  # alpha - 1
        distance = float(np.abs(1 - np.exp(-slope * above) - np.arange(count) / count).max())
        if best is None or distance < best[0]:
            best = (distance, 1 + float(slope), start)
    if best is None:
        raise ValueError(
            "expected a tail of at least two different eigenvalues where it may begin, got none"
        )
    distance, alpha, start = best
    return Fit(alpha, distance, float(values[start]), len(values) - start)
