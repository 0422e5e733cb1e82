"""How many examples a property is tried with: the profile's share of what is thorough."""

from __future__ import annotations

from hypothesis import settings

#: What the profile `thorough` tries where a test says nothing.
THOROUGH = 100


def examples(thorough: int) -> int:
    """For `@settings(max_examples=...)`: so many in `make test-all`, fewer in the default run."""
    return max(1, thorough * settings().max_examples // THOROUGH)
