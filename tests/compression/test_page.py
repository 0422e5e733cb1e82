"""The page of a compression: what it shows of each layer."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from sparse_ovs.compression.page import report_page
from sparse_ovs.compression.quality import Quality
from sparse_ovs.compression.record import LayerRecord, Report


def page(*layers: LayerRecord) -> str:
    return report_page(
        Report(
            model="a <network>",
            settings={"precision": "fp32"},
            input_shape=(1, 3, 8, 8),
            layers=layers,
            density=0.5,
            macs_share=0.5,
            images=9,
            skipped=(),
            quality=Quality(1, [0.99], [0.1]),
            speed=None,
            repaired=None,
            seconds=1.0,
            peak_bytes=10**9,
        )
    )


@pytest.fixture
def layer() -> LayerRecord:
    return LayerRecord("stem", (8, 3, 3, 3), density=0.4, macs=10**6, error=0.02, ms=0.5)


def bar(share: str, text: str) -> str:
    return f'style="--share: {share}">{text}</td>'


def test_density_error_and_time_have_bars_by_the_largest_of_their_column(
    layer: LayerRecord,
) -> None:
    worse = LayerRecord(**{**asdict(layer), "name": "head", "density": 0.2, "error": 0.08, "ms": 2})
    shown = page(layer, worse)
    for share, text in (("100.0%", "0.400"), ("25.0%", "0.0200"), ("25.0%", "0.500")):
        assert bar(share, text) in shown
    for share, text in (("50.0%", "0.200"), ("100.0%", "0.0800"), ("100.0%", "2.000")):
        assert bar(share, text) in shown


def test_a_layer_without_a_time_has_an_empty_cell(layer: LayerRecord) -> None:
    assert bar("0.0%", "") in page(LayerRecord(**{**asdict(layer), "ms": None}))


def test_layers_that_lose_nothing_have_no_bars_of_errors(layer: LayerRecord) -> None:
    assert bar("0.0%", "0.0000") in page(LayerRecord(**{**asdict(layer), "error": 0.0}))


def test_names_are_text_in_the_page(layer: LayerRecord) -> None:
    shown = page(layer)
    assert "a &lt;network&gt;" in shown
    assert "<network>" not in shown
