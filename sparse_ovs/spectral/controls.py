"""Choices that know nothing of spectra: what alpha has to beat, and the list of the authors."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from sparse_ovs.loop.seeds import derive_seed

_DRAWS = 100_000

# The layers that OpenTrans froze (arXiv 2404.07448): 27 of RN50's 55 convolutions.
AUTHORS = (
    *("conv1", "conv2", "conv3"),
    *("layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.1.conv3"),
    *("layer1.2.conv2", "layer1.2.conv3"),
    *("layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv1"),
    *("layer2.1.conv2", "layer2.2.conv2", "layer2.2.conv3", "layer2.3.conv2", "layer2.3.conv3"),
    "layer3.0.conv1",
    *(f"layer3.{block}.conv2" for block in range(6)),
    *("layer4.0.conv2", "layer4.2.conv2"),
)


def random_by_count(names: Sequence[str], count: int, seed: int) -> set[str]:
    """`count` names, every choice as likely.

    Raises:
        ValueError: a count that is not 0 to the number of names.
    """
    if not 0 <= count <= len(names):
        raise ValueError(f"expected a count from 0 to {len(names)}, got {count!r}")
    return set(random.Random(derive_seed(seed, "freeze by count")).sample(list(names), count))


def random_by_macs(
    macs: Mapping[str, float], frozen: float, seed: int, tolerance: float = 0.01
) -> set[str]:
    """Random names with about so many MACs: layers are drawn in random order until they have
    enough, and the first such draw within the tolerance is taken.

    Args:
        macs: of each name, in any unit.
        frozen: MACs to freeze, in the same unit.
        tolerance: largest difference, as a fraction of all names' MACs.

    Raises:
        ValueError: MACs out of range, or none of 100,000 draws within the tolerance.
    """
    total = sum(macs.values())
    if not 0 <= frozen <= total * (1 + 1e-9):
        raise ValueError(f"expected MACs to freeze from 0 to {total:g}, got {frozen:g}")
    draw = random.Random(derive_seed(seed, "freeze by MACs"))
    order = list(macs)
    for _ in range(_DRAWS):
        draw.shuffle(order)
        chosen: set[str] = set()
        have = 0.0
        for name in order:
            if abs(have - frozen) <= tolerance * total:
                return chosen
            if have > frozen:
                break
            chosen.add(name)
            have += macs[name]
        if abs(have - frozen) <= tolerance * total:
            return chosen
    raise ValueError(
        f"expected layers with {frozen:g} MACs within {tolerance:g} of all, got none in "
        f"{_DRAWS:,} draws: raise the tolerance"
    )


def all_3x3(shapes: Mapping[str, Sequence[int]]) -> set[str]:
    """The convolutions with 3 x 3 taps."""
    return {name for name, shape in shapes.items() if tuple(shape[2:]) == (3, 3)}


def authors_list(names: Sequence[str]) -> set[str]:
    """The layers that OpenTrans froze.

    Raises:
        ValueError: names that lack some of them: another encoder than RN50.
    """
    if missing := [name for name in AUTHORS if name not in names]:
        raise ValueError(f"expected RN50, got an encoder without {', '.join(missing)}")
    return set(AUTHORS)
