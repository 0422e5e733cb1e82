"""Prompt templates: the sentences that a class name is put into before CLIP reads it."""

from __future__ import annotations

from collections.abc import Sequence

from sparse_ovs.text.imagenet_templates import IMAGENET

_SIZES = ("small", "medium", "large")

# The 14 of ViLD (arXiv 2104.13921), as fc-clip and others use them.
_VILD = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    *(f"a photo of a {size} {{}}." for size in _SIZES),
    *(f"This is a photo of a {size} {{}}." for size in _SIZES),
    *(f"There is a {size} {{}} in the scene." for size in _SIZES),
)

TEMPLATES: dict[str, tuple[str, ...]] = {
    "bare": ("{}",),
    "vild": _VILD,
    "imagenet": IMAGENET,
}


def find_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """A set of TEMPLATES by its name, or one's own sentences, each with one "{}" for the name.

    Raises:
        ValueError: an unknown name, no sentence, or one without exactly one "{}".
    """
    if isinstance(templates, str):
        if templates not in TEMPLATES:
            raise ValueError(
                f"expected templates {', '.join(TEMPLATES)} or a list of sentences, got "
                f"{templates!r}"
            )
        return TEMPLATES[templates]
    own = tuple(templates)
    if not own:
        raise ValueError("expected at least one template, got none")
    for template in own:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise ValueError(f"expected templates with one '{{}}', got {template!r}")
    return own
