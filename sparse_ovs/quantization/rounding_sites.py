"""Where an int8 encoder rounds, in the graph of its module as it stands."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from sparse_ovs.engine.graph import Activation, Add, BatchNorm, Conv, Graph, Quant, Scale


@dataclass(frozen=True)
class RoundingSites:
    """What is rounded to integers where a plain graph runs.

    Attributes:
        weights: convolutions whose weights become s8.
        inputs: by node: of the values that it reads, those that it alone reads as u8.
        values: by node: how its value is rounded for all that read it.
    """

    weights: frozenset[str]
    inputs: Mapping[str, Mapping[str, Quant]]
    values: Mapping[str, Quant]


def find_sites(plain: Graph, typed: Graph) -> RoundingSites:
    """The sites of one encoder.

    Args:
        plain: see `engine.export.trace`.
        typed: of the same module and input, folded and fused, after `to_int8`. A step that was
            fused has the name of its convolution, and its value is what the last node that it
            took in makes.
    """
    made = {node.name: node for node in typed.nodes}
    inputs: dict[str, dict[str, Quant]] = {}
    values: dict[str, Quant] = {}
    weights = set()
    for node in plain.nodes:
        step = made.get(node.name)
        if step is None:
            continue
        if not isinstance(node, Conv) or not isinstance(step, Conv):
            if step.quant is not None:
                values[node.name] = step.quant
            continue
        end, add = _reach(plain, node.name, made, step.residual is not None)
        if step.quant is not None:
            values[end] = step.quant
        if step.weight_scales is None:
            continue
        weights.add(node.name)
        inputs[node.name] = {node.source: _quant(made[step.source].quant)}
        if add is not None and step.residual is not None:
            side, sum_of = add
            other = sum_of.left if sum_of.right == side else sum_of.right
            if (quant := made[step.residual].quant) is not None:
                inputs[sum_of.name] = {other: quant}
    # What is rounded where it is made needs no more.
    alone = {
        name: {source: quant for source, quant in read.items() if values.get(source) != quant}
        for name, read in inputs.items()
    }
    return RoundingSites(frozenset(weights), alone, values)


def _reach(
    plain: Graph, name: str, kept: Container[str], adds: bool
) -> tuple[str, tuple[str, Add] | None]:
    """The last node that a convolution took in, and its sum with the residual: (the operand that
    is the convolution's, the sum)."""
    found: tuple[str, Add] | None = None
    while plain.uses()[name] == 1 and name not in plain.outputs:
        reader = next(node for node in plain.nodes if name in node.sources())
        if reader.name in kept:
            break
        if isinstance(reader, Add) and adds and found is None:
            found = (name, reader)
        elif not isinstance(reader, (BatchNorm, Scale, Activation)):
            break
        name = reader.name
    return name, found


def _quant(quant: Quant | None) -> Quant:
    assert quant is not None  # an int8 convolution reads u8
    return quant
