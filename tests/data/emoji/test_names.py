"""Names and keywords of emoji, in vendors' spelling."""

from pathlib import Path

import pytest

from sparse_ovs.data.emoji.names import code_of, emoji_names, slug
from support.made_emoji import put_packages


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("man\u2019s shoe", "mans-shoe"),
        ("piñata", "pinata"),
        ("pilot's: Åland", "pilots-aland"),
        ("“free” button", "free-button"),
    ],
)
def test_labels_become_names_of_files(label: str, written: str) -> None:
    assert slug(label) == written


def test_code_points_are_written_without_the_variation_selector() -> None:
    assert code_of("2615-FE0F") == "2615"
    assert code_of("1F468-200D-1F33E") == "1f468-200d-1f33e"


def test_both_lists_give_names_and_the_first_gives_keywords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"hexcode": "270F-FE0F", "label": "pencil", "emoji": "✏️", "tags": ["draw", "school"]}
    plain = {"hexcode": "1F4A3", "label": "bomb", "emoji": "💣"}
    contents = {
        "emojibase-data": {"en/data.json": [entry, plain]},
        "unicode-emoji-json": {"data-by-emoji.json": {"✏️": {"name": "lead pencil"}}},
    }
    put_packages(monkeypatch, tmp_path, contents)
    found = emoji_names()
    assert found["270f"].slugs == ("pencil", "lead-pencil")
    assert found["270f"].keywords == ("draw", "school")
    assert found["1f4a3"].slugs == ("bomb",)
    assert found["1f4a3"].keywords == ()
