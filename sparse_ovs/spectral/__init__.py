"""Heavy-tailed spectra of pretrained weights: alpha by layer, and which layers to freeze by it."""

from sparse_ovs.spectral.choose import CONTROLS, METRICS, RULES, choose
from sparse_ovs.spectral.estimators import ESTIMATORS, Fit
from sparse_ovs.spectral.freezing import Freezing, freeze
from sparse_ovs.spectral.layers import SpectralLayer, spectral_layers
from sparse_ovs.spectral.selection import (
    SelectedLayer,
    Selection,
    check_selection,
    load_selection,
    make_selection,
    save_selection,
)
from sparse_ovs.spectral.spectrum import spectrum
from sparse_ovs.spectral.table import SpectralRow, SpectralTable, analyse

__all__ = [
    "CONTROLS",
    "ESTIMATORS",
    "METRICS",
    "RULES",
    "Fit",
    "Freezing",
    "SelectedLayer",
    "Selection",
    "SpectralLayer",
    "SpectralRow",
    "SpectralTable",
    "analyse",
    "check_selection",
    "choose",
    "freeze",
    "load_selection",
    "make_selection",
    "save_selection",
    "spectral_layers",
    "spectrum",
]
