"""Lets the steps of a graph that torch's PT2E flow quantised compute in int8, with its own scales.

Such a graph rounds values where it says so: a Convert to u8, and one back. A step between two of
them becomes an int8 one; all others stay what they are, and so stays what the graph computes.
"""

from __future__ import annotations

from sparse_ovs.engine.graph import Conv, Convert, Graph, Node, Pool, Quant
from sparse_ovs.engine.int8 import why_not_int8
from sparse_ovs.engine.passes.clean import remove_unused
from sparse_ovs.engine.torch_nodes import AsMap, TorchNode, View

_MAX_POOL = "aten.max_pool2d.default"


def to_own_int8(graph: Graph) -> Graph:
    """Types the graph, in place, after its passes."""
    for node in graph.nodes.copy():
        if isinstance(node, Convert) and node.quant is not None:
            _round_earlier(graph, node, node.quant)
    for node in graph.nodes.copy():
        if isinstance(node, Conv):
            node.note = _why_not(graph, node) or _type(graph, node)
            if not node.note:
                node.weight_scales = node.own_scales
        elif isinstance(node, Pool):
            source = graph.node(node.source)
            if _is_dequantised(source) and _quant_read(graph, node) == _quant_of(graph, source):
                _type(graph, node)
    _keep_in_runs(graph)
    remove_unused(graph)
    return graph


def _why_not(graph: Graph, conv: Conv) -> str:
    """Why a convolution cannot compute in int8; "" where it can if its value is u8."""
    if reason := why_not_int8(conv):
        return reason
    if conv.own_scales is None:
        return "its weights are not s8 by output channel"
    if not all(_is_dequantised(graph.node(name)) for name in conv.sources()):
        return "what it reads is not quantised to u8"
    return ""


def _type(graph: Graph, node: Node) -> str:
    """Lets a step read and make u8; why not, if what it makes is not quantised."""
    quant = _quant_read(graph, node)
    if quant is None:
        return "what it makes is not quantised to u8"
    for name in dict.fromkeys(node.sources()):
        given = graph.node(name)
        assert isinstance(given, Convert)
        node.rename(name, given.source)
    for reader in _readers(graph, node.name):
        graph.nodes.remove(reader)
        graph.replace(reader.name, node.name)
    node.quant = quant
    return ""


def _readers(graph: Graph, name: str) -> list[Node]:
    return [node for node in graph.nodes if name in node.sources()]


def _is_dequantised(node: Node | None) -> bool:
    return isinstance(node, Convert) and node.quant is None


def _quant_of(graph: Graph, dequantised: Node | None) -> Quant | None:
    source = None if dequantised is None else graph.node(dequantised.sources()[0])
    return None if source is None else source.quant


def _quant_read(graph: Graph, node: Node) -> Quant | None:
    """What all readers of a value quantise it to; None where they differ, or do not."""
    quants = {
        each.quant if isinstance(each, Convert) else None for each in _readers(graph, node.name)
    }
    return quants.pop() if len(quants) == 1 and node.name not in graph.outputs else None


def _round_earlier(graph: Graph, rounding: Convert, quant: Quant) -> None:
    """Rounds what a convolution makes before its largest numbers are taken, not only after: they
    are the same, and the convolution's value is u8."""
    passed: list[Node] = []
    node = graph.node(rounding.source)
    while _keeps_numbers(node) and node is not None:
        if passed and graph.uses()[node.name] != 1:
            return
        passed.append(node)
        node = graph.node(node.sources()[0])
    if not passed or not isinstance(node, Conv) or graph.uses()[node.name] != 1:
        return
    if _why_not(graph, node) or _quant_read(graph, passed[0]) != quant:
        return
    integers = Convert(f"{node.name}_u8", node.name, quant=quant, layer=node.layer)
    floats = Convert(f"{node.name}_f32", integers.name, layer=node.layer)
    passed[-1].rename(node.name, floats.name)
    place = graph.nodes.index(node) + 1
    graph.nodes[place:place] = [integers, floats]


def _keeps_numbers(node: Node | None) -> bool:
    """Numbers of its value are numbers of what it reads, and it keeps their order."""
    pools = isinstance(node, TorchNode) and str(node.target) == _MAX_POOL
    return pools or isinstance(node, (View, AsMap))


def _keep_in_runs(graph: Graph) -> None:
    """Lets only floats go from one run of native steps to another: segments of a plan give and take
    nothing else."""
    made: list[Node] = []
    run_of: dict[str, int] = {}  # of each value that is u8
    quants: dict[str, Quant] = {}
    floats: dict[str, str] = {}  # names: of u8 values as floats
    again: dict[tuple[str, int], str] = {}  # names: of u8 values in another run

    def put_floats(name: str, node: Convert) -> None:
        place = next(i for i, each in enumerate(made) if each.name == name)
        made.insert(place + 1, node)
        floats[name] = node.name

    run = 0
    for node in graph.nodes:
        run += not node.is_native()
        if isinstance(node, Convert) and node.quant is None:
            if node.source in floats:
                graph.replace(node.name, floats[node.source])
            else:
                put_floats(node.source, node)
            continue
        for name in dict.fromkeys(node.sources()):
            if run_of.get(name, run) == run:
                continue
            if name not in floats:
                put_floats(name, Convert(f"{name}_f32", name))
            if (name, run) not in again:
                again[name, run] = f"{name}_u8_{run}"
                made.append(Convert(again[name, run], floats[name], quant=quants[name]))
            node.rename(name, again[name, run])
        made.append(node)
        if node.quant is not None:
            run_of[node.name], quants[node.name] = run, node.quant
    graph.nodes = made
