"""Drawing sprites: cut, centred, premultiplied, kept once, chosen by vendor."""

from pathlib import Path

import numpy as np
import pytest

from sparse_ovs.data.emoji import VENDORS, Concept, sprites
from sparse_ovs.data.emoji.packages import MissingPackages
from sparse_ovs.data.emoji.sprites import draw_sprites, load_sprites, sprite, sprites_file
from support.made_emoji import forget, plain_sprites, put_packages

FRAME = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">'
SMALL = f'{FRAME}<rect x="40" y="8" width="16" height="8" fill="#f00"/></svg>'


def test_a_thing_fills_its_sprite_s_width_in_the_middle() -> None:
    pytest.importorskip("resvg_py")
    drawn = sprite(SMALL)
    visible = np.argwhere(drawn[..., 3] > 127)
    assert drawn.shape == (96, 96, 4)
    assert visible.min(0).tolist() == [24, 0]
    assert visible.max(0).tolist() == [71, 95]
    assert drawn[48, 48].tolist() == [255, 0, 0, 255]


def test_colours_are_multiplied_by_alpha() -> None:
    pytest.importorskip("resvg_py")
    drawn = sprite(SMALL.replace("/></svg>", ' fill-opacity="0.5"/></svg>'))
    assert drawn[48, 48].tolist() == pytest.approx([128, 0, 0, 128], abs=1)
    assert (drawn[..., :3] <= drawn[..., 3:]).all()


def test_an_empty_picture_is_refused() -> None:
    pytest.importorskip("resvg_py")
    with pytest.raises(ValueError, match="expected an SVG that shows something"):
        sprite(f"{FRAME}</svg>")


def icons(fill: str) -> dict[str, object]:
    body = f'<circle cx="8" cy="8" r="8" fill="{fill}"/>'
    return {"icons": {"bee": {"body": body}, "shared-name": {"body": body}}}


@pytest.fixture
def two_concepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bee that all vendors draw, the first in red; and a car that is known by name to the first,
    and called by that name by the second alone."""
    pytest.importorskip("resvg_py")
    contents: dict[str, dict[str, object]] = {
        "emojibase-data": {
            "en/data.json": [
                {"hexcode": "1F41D", "label": "bee", "emoji": "b"},
                {"hexcode": "1F697", "label": "auto", "emoji": "c"},
            ]
        },
        "unicode-emoji-json": {"data-by-emoji.json": {}},
    }
    for number, vendor in enumerate(VENDORS):
        chars = {"1f41d": "bee", "1f697": "shared-name"} if number == 1 else {}
        fill = "#00f" if number else "#f00"
        contents[vendor.package] = {"icons.json": icons(fill), "chars.json": chars}
    put_packages(monkeypatch, tmp_path, contents)
    concepts = (Concept("bee", ("1f41d",), "seen"), Concept("car", ("1f697",), "clip"))
    monkeypatch.setattr(sprites, "CONCEPTS", concepts)


@pytest.mark.usefixtures("two_concepts")
def test_sprites_are_drawn_once_and_kept() -> None:
    found = load_sprites()
    assert len(found) == 2 * len(VENDORS)
    assert sorted(set(found.concepts.tolist())) == [0, 1]
    written = sprites_file().read_bytes()
    forget()
    np.testing.assert_array_equal(load_sprites().pixels, found.pixels)
    assert draw_sprites().read_bytes() == written


@pytest.mark.usefixtures("two_concepts")
def test_other_concepts_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = draw_sprites()
    monkeypatch.setattr(sprites, "CONCEPTS", sprites.CONCEPTS[:1])
    assert draw_sprites() != before


@pytest.mark.usefixtures("two_concepts")
def test_vendors_are_told_apart() -> None:
    red = load_sprites().by_vendors([VENDORS[0].name])
    assert set(red.vendors.tolist()) == {0}
    assert red.pixels[0, 48, 48].tolist() == [255, 0, 0, 255]


def test_an_unknown_vendor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected vendors of noto, .*got 'apple'"):
        plain_sprites().by_vendors(["apple"])


def test_without_packages_the_error_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path))
    forget()
    with pytest.raises(MissingPackages, match="sparse-ovs data fetch emoji"):
        load_sprites()


@pytest.mark.usefixtures("two_concepts")
def test_without_the_drawing_library_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(ImportError, match=r"pip install 'sparse_ovs\[emoji\]'"):
        load_sprites()
