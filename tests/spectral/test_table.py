"""The table of an encoder's layers, and the spectra that it keeps on disk."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.profiling import count_macs
from sparse_ovs.spectral import SpectralTable, analyse, spectrum_cache
from sparse_ovs.spectral.spectrum import spectrum
from support.small_encoders import Small


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path))
    return tmp_path / "spectra"


def dense() -> Small:
    return Small(density=1.0)


def test_a_row_has_the_shares_of_its_layer(rn50: Backbone) -> None:
    x = torch.zeros(1, 3, 64, 64)
    table = analyse(rn50, "mid", x)
    macs = {name: layer.dense for name, layer in count_macs(rn50, x).items()}
    weights = {n: m.weight.numel() for n, m in rn50.named_modules() if isinstance(m, nn.Conv2d)}
    assert [row.name for row in table.rows] == list(weights)
    for row in table.rows:
        assert row.weight_share == pytest.approx(weights[row.name] / sum(weights.values()))
        assert row.mac_share == pytest.approx(macs[row.name] / sum(macs.values()))
    assert sum(row.mac_share or 0 for row in table.rows) == pytest.approx(1)


def test_attention_has_four_layers_of_equal_work() -> None:
    vit = create_backbone("ViT-B-32", out_indices=[0])
    vit.transformer.resblocks = vit.transformer.resblocks[:1]
    table = analyse(vit, "mid", torch.zeros(1, 3, 64, 64))
    by_name = {row.name: row for row in table.rows}
    prefix = "transformer.resblocks.0.attn"
    parts = [f"{prefix}.in_proj.{part}" for part in "qkv"] + [f"{prefix}.out_proj"]
    assert [by_name[part].shape for part in parts] == [(768, 768)] * 4
    assert len({by_name[part].mac_share for part in parts}) == 1
    up = by_name["transformer.resblocks.0.mlp.c_fc"]
    assert up.mac_share == pytest.approx(4 * (by_name[parts[0]].mac_share or 0))


def test_without_an_example_macs_are_unknown() -> None:
    assert {row.mac_share for row in analyse(dense()).rows} == {None}


def test_progress_is_told_layer_by_layer() -> None:
    told: list[tuple[str, int, int]] = []
    table = analyse(dense(), progress=lambda *step: told.append(step))
    assert told == [(row.name, i, 5) for i, row in enumerate(table.rows, 1)]


def test_all_layers_without_a_tail_are_named() -> None:
    model = dense()
    model.conv1.weight.data.zero_()
    model.down.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"conv1 \(.*eigenvalues.*down \(.*finite"):
        analyse(model)


def test_known_spectra_are_read_from_the_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = dense()
    first = analyse(model, "farms")
    assert list(cache.iterdir())
    monkeypatch.setattr(spectrum_cache, "spectrum", lambda *_, **__: pytest.fail("computed"))
    assert analyse(model, "farms") == first


def test_other_values_shapes_and_windows_are_other_spectra() -> None:
    weight = torch.randn(8, 4)
    for other in (weight + 1e-7, weight.T, weight.reshape(4, 8)):
        assert torch.equal(spectrum_cache.cached_spectrum(other), spectrum(other))
    windows = spectrum_cache.cached_spectrum(weight, windows=True)
    assert torch.equal(windows, spectrum(weight, windows=True))
    assert torch.equal(spectrum_cache.cached_spectrum(weight), spectrum(weight))


def test_spectra_of_an_older_method_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 halved a linear layer's eigenvalues as it halves a convolution's."""
    weight = torch.randn(6, 5)
    with monkeypatch.context() as older:
        older.setattr(spectrum_cache, "_METHOD", 1)
        older.setattr(spectrum_cache, "spectrum", lambda weight, **_: spectrum(weight) / 2)
        spectrum_cache.cached_spectrum(weight)
    assert torch.equal(spectrum_cache.cached_spectrum(weight), spectrum(weight))


def test_a_damaged_file_is_written_again(cache: Path) -> None:
    weight = torch.randn(6, 5)
    spectrum_cache.cached_spectrum(weight)
    (file,) = cache.iterdir()
    sound = file.read_bytes()
    file.write_bytes(sound[: len(sound) // 2])
    assert torch.equal(spectrum_cache.cached_spectrum(weight), spectrum(weight))
    assert file.read_bytes() == sound


def test_a_folder_that_cannot_be_written_is_warned_of(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    weight = torch.randn(6, 5)
    with pytest.warns(RuntimeWarning, match="to be writable"):
        found = spectrum_cache.cached_spectrum(weight)
    assert torch.equal(found, spectrum(weight))


def test_without_pandas_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="expected pandas"):
        SpectralTable("mid", ()).to_pandas()


def test_a_data_frame_has_a_row_a_layer() -> None:
    pytest.importorskip("pandas")
    table = analyse(dense())
    frame = table.to_pandas()
    assert list(frame["name"]) == [row.name for row in table.rows]
    assert list(frame["alpha"]) == [row.alpha for row in table.rows]
