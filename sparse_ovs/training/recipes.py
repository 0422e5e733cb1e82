"""Ready settings that come with the package, and files of one's own."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

FOLDER = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """What `find_recipe` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_recipe(name: str | os.PathLike[str]) -> Path:
    """The file of a recipe's name, or the path itself.

    Raises:
        FileNotFoundError: neither.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise FileNotFoundError(f"expected a TOML file of settings, got none at {path}")
        return path
    if str(name) not in recipe_names():
        near = difflib.get_close_matches(str(name), recipe_names(), n=1, cutoff=0.4)
        raise FileNotFoundError(
            f"expected a TOML file or a recipe of {', '.join(recipe_names())}, got {str(name)!r}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    return FOLDER / f"{name}.toml"
