"""Moves crops up, so that tokens which nobody reads are not computed: CLIP reads one of them."""

from __future__ import annotations

from sparse_ovs.engine.dims import AXES
from sparse_ovs.engine.graph import Activation, Add, Attention, Conv, Crop, Graph, LayerNorm, Node
from sparse_ovs.engine.passes.edit import absorb
from sparse_ovs.engine.torch_nodes import View


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


def shape_crops(graph: Graph) -> None:
    """Crops that are only read as maps of another height and width are made so: ViTs' tokens as
    maps of their patches."""
    for view in [node for node in graph.nodes if isinstance(node, View)]:
        if not _is_map(view):
            continue
        crops = _crops_behind(graph, view)
        if not crops:
            continue
        for crop in crops:
            crop.size = (view.shape[2], view.shape[3])
        graph.nodes.remove(view)
        graph.replace(view.name, view.source)


def _is_map(view: View) -> bool:
    """Its numbers lie as a whole map (N, C, H, W) does."""
    if len(view.shape) != 4 or view.first:
        return False
    axes = [factor.axis for factor in view.factors]
    if axes != sorted(axes, key=AXES.index):
        return False
    stride = dict.fromkeys(AXES, 1)
    for factor in reversed(view.factors):
        if factor.stride != stride[factor.axis]:
            return False
        stride[factor.axis] *= factor.size
    return [stride["n"], stride["c"]] == list(view.shape[:2])


def _crops_behind(graph: Graph, view: View) -> list[Crop]:
    """The crops that alone decide the height and width of what a view reads, and of nothing else;
    none where there are no such."""
    region: dict[str, Node] = {}
    unseen = [view.source]
    while unseen:
        name = unseen.pop()
        if name in region:
            continue
        node = graph.node(name)
        if node is None or not (isinstance(node, Crop) or _is_by_pixel(node)):
            return []
        region[name] = node
        if not isinstance(node, Crop):
            unseen += _by_pixel_sources(node)
    for node in graph.nodes:
        if (
            node is not view
            and node.name not in region
            and not region.keys().isdisjoint(node.sources())
        ):
            return []
    if not region.keys().isdisjoint(graph.outputs):
        return []
    return [node for node in region.values() if isinstance(node, Crop)]


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
            and (other.source, other.first, other.size) == (name, crop.first, crop.size)
        ),
        None,
    )
    if made is None:
        made = Crop(
            f"{name}_from{crop.first}_to{crop.first + crop.count}", name, crop.first, crop.size
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
