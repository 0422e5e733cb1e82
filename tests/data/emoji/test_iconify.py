"""Finding an emoji's picture in sets that list code points, and in those that know names alone."""

from pathlib import Path

import pytest

from sparse_ovs.data.emoji.iconify import IconSet
from sparse_ovs.data.emoji.packages import package
from support.made_emoji import put_packages

ICONS = {
    "icons": {
        "red-apple": {"body": "<path/>"},
        "horseface": {"body": "<g/>", "width": 20, "left": 2},
    },
    "aliases": {
        "apple": {"parent": "red-apple"},
        "fruit": {"parent": "apple"},
        "turned": {"parent": "red-apple", "rotate": 1},
    },
    "width": 36,
    "height": 24,
}


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[IconSet, IconSet]:
    """One with code points, one without."""
    contents = {
        "coded": {"icons.json": ICONS, "chars.json": {"1F34E-FE0F": "fruit", "1f34f": "turned"}},
        "named": {"icons.json": ICONS, "chars.json": {}},
    }
    put_packages(monkeypatch, tmp_path, contents)
    return IconSet(package("coded")), IconSet(package("named"))


def test_a_set_with_code_points_goes_by_them_through_aliases(sets: tuple[IconSet, IconSet]) -> None:
    assert sets[0].name_of("1f34e") == "fruit"
    assert sets[0].find("1f34e", ()) == "red-apple"


def test_a_set_with_code_points_is_not_searched_by_names(sets: tuple[IconSet, IconSet]) -> None:
    assert sets[0].find("1f434", ("horseface",)) is None


def test_turned_pictures_do_not_count(sets: tuple[IconSet, IconSet]) -> None:
    assert sets[0].find("1f34f", ()) is None


def test_a_set_of_names_alone_takes_the_first_that_it_knows(sets: tuple[IconSet, IconSet]) -> None:
    assert sets[1].find("1f34e", ("green-apple", "apple", "horseface")) == "red-apple"
    assert sets[1].name_of("1f34e") is None


def test_names_without_hyphens_are_found(sets: tuple[IconSet, IconSet]) -> None:
    assert sets[1].find("1f434", ("horse-face",)) == "horseface"


def test_what_a_set_lacks_is_none(sets: tuple[IconSet, IconSet]) -> None:
    assert sets[1].find("1f9a0", ("microbe",)) is None


def test_an_svg_has_the_picture_s_own_frame_or_the_set_s(sets: tuple[IconSet, IconSet]) -> None:
    assert 'viewBox="0 0 36 24" width="36" height="24"><path/></svg>' in sets[1].svg("red-apple")
    assert 'viewBox="2 0 20 24"' in sets[1].svg("horseface")
