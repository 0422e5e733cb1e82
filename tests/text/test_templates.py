"""Prompt templates."""

from __future__ import annotations

from typing import Any

import pytest
from open_clip import OPENAI_IMAGENET_TEMPLATES

from sparse_ovs.text import TEMPLATES, find_templates


def test_there_are_one_fourteen_and_eighty() -> None:
    counts = {name: len(set(templates)) for name, templates in TEMPLATES.items()}
    assert counts == {"bare": 1, "vild": 14, "imagenet": 80}


def test_every_template_of_a_set_is_a_sound_one() -> None:
    for templates in TEMPLATES.values():
        assert find_templates(templates) == templates


def test_the_eighty_are_open_clips() -> None:
    ours = [template.replace("{}", "tench") for template in TEMPLATES["imagenet"]]
    assert ours == [template("tench") for template in OPENAI_IMAGENET_TEMPLATES]


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ("clip", "expected templates bare, vild, imagenet or a list of sentences, got 'clip'"),
        ([], "expected at least one template, got none"),
        (["a photo"], "expected templates with one '{}', got 'a photo'"),
        (["{} and {}"], "expected templates with one '{}', got '{} and {}'"),
        ([3], "expected templates with one '{}', got 3"),
    ],
)
def test_what_is_no_template_is_told(templates: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_templates(templates)
