"""Moves crops up, so that tokens which nobody reads are not computed: CLIP reads one of them."""

from __future__ import annotations

from sparse_ovs.engine.graph import Activation, Add, Attention, Conv, Crop, Graph, LayerNorm, Node
from sparse_ovs.engine.passes.edit import absorb


def move_crops_up(graph: Graph) -> None:
    """crop(f(x)) becomes f(crop(x)) for every f that works pixel by pixel, or query by query."""
    moved = True
    while moved:
        moved = False
        for crop in [node for node in graph.nodes if isinstance(node, Crop)]:
            node = graph.node(crop.source)
            if node is None or graph.uses()[node.name] != 1 or not _is_by_pixel(node):
                continue
            for name in dict.fromkeys(_by_pixel_sources(node)):
                _crop_source(graph, node, name, crop)
            absorb(graph, crop.name, node)
            moved = True
            break


def _is_by_pixel(node: Node) -> bool:
    if isinstance(node, Conv):
        return node.is_pointwise()
    return isinstance(node, (LayerNorm, Activation, Add, Attention))


def _by_pixel_sources(node: Node) -> list[str]:
    return [node.query] if isinstance(node, Attention) else node.sources()


def _crop_source(graph: Graph, node: Node, name: str, crop: Crop) -> None:
    """Lets a node read the pixels of `crop` of what it read as `name`."""
    made = next(
        (
            other
            for other in graph.nodes
            if isinstance(other, Crop)
            and (other.source, other.first, other.count) == (name, crop.first, crop.count)
        ),
        None,
    )
    if made is None:
        made = Crop(
            f"{name}_from{crop.first}_to{crop.first + crop.count}", name, crop.first, crop.count
        )
    else:
        graph.nodes.remove(made)
    # Where the source is made: before anyone who reads it.
    source = graph.node(name)
    graph.nodes.insert(0 if source is None else graph.nodes.index(source) + 1, made)
    if isinstance(node, Attention):
        node.query = made.name
    else:
        node.rename(name, made.name)
