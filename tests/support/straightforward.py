"""The mask heads' forward once more, in fp64 and one step after the other, from a state_dict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def of(state: State, prefix: str) -> dict[str, Tensor]:
    """What lies under a prefix, without it, in fp64."""
    dot = f"{prefix}."
    return {k.removeprefix(dot): v.double() for k, v in state.items() if k.startswith(dot)}


def linear(state: State, x: Tensor) -> Tensor:
    return x @ state["weight"].T + state["bias"]


def layer_norm(state: State, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / (variance + 1e-5).sqrt() * state["weight"] + state["bias"]


def group_norm(state: State, x: Tensor, groups: int = 32) -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, groups, -1)
    parts = parts - parts.mean(-1, keepdim=True)
    parts = parts / (parts.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return parts.reshape(n, c, h, w) * state["weight"][:, None, None] + state["bias"][:, None, None]


def pointwise(state: State, x: Tensor) -> Tensor:
    y = torch.einsum("oi,nihw->nohw", state["weight"][:, :, 0, 0], x)
    return y + state["bias"][:, None, None] if "bias" in state else y


def perceptron(state: State, x: Tensor) -> Tensor:
    last = max(int(name.split(".")[1]) for name in state)
    for index in range(last + 1):
        x = linear(of(state, f"layers.{index}"), x)
        x = x.clamp(min=0) if index < last else x
    return x


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, cells' centres kept in place, edges repeated; (..., h, w)."""
    for dim, size in ((-2, height), (-1, width)):
        old = x.shape[dim]
        at = ((torch.arange(size, dtype=torch.float64) + 0.5) * old / size - 0.5).clamp(0, old - 1)
        low = at.floor().long()
        high = (low + 1).clamp(max=old - 1)
        share = at - low
        share = share[:, None] if dim == -2 else share
        x = x.index_select(dim, low) * (1 - share) + x.index_select(dim, high) * share
    return x


def positions(height: int, width: int, dim: int) -> Tensor:
    """(height, width, dim), channel by channel."""
    half = dim // 2
    out = torch.zeros(height, width, dim, dtype=torch.float64)
    for channel in range(half):
        wave = math.sin if channel % 2 == 0 else math.cos
        period = 10_000 ** (2 * (channel // 2) / half)
        for y in range(height):
            out[y, :, channel] = wave(2 * math.pi * (y + 1) / height / period)
        for x in range(width):
            out[:, x, half + channel] = wave(2 * math.pi * (x + 1) / width / period)
    return out


def read_bilinearly(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(h, w, D) at pixels (x, y), each (Q,), zero outside -> (Q, D)."""
    height, width, dim = image.shape
    found = torch.zeros(len(x), dim, dtype=image.dtype)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = x.floor() + dx, y.floor() + dy
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            corner = image[row.clamp(0, height - 1).long(), column.clamp(0, width - 1).long()]
            found += torch.where(inside, share, 0)[:, None] * corner
    return found


def deformable(
    state: State, query: Tensor, source: Tensor, shapes: list[tuple[int, int]], heads: int
) -> Tensor:
    """One image: queries are the cells of all levels, each looking around its centre."""
    cells, dim = source.shape
    value = linear(of(state, "value_proj"), source).reshape(cells, heads, dim // heads)
    offsets = linear(of(state, "sampling_offsets"), query).reshape(cells, heads, len(shapes), -1, 2)
    weights = linear(of(state, "attention_weights"), query).reshape(cells, heads, -1).exp()
    weights = (weights / weights.sum(-1, keepdim=True)).reshape(offsets.shape[:-1])
    centres = torch.tensor(
        [((x + 0.5) / w, (y + 0.5) / h) for h, w in shapes for y in range(h) for x in range(w)],
        dtype=torch.float64,
    )
    out = torch.zeros(cells, heads, dim // heads, dtype=torch.float64)
    start = 0
    for level, (h, w) in enumerate(shapes):
        image = value[start : start + h * w].reshape(h, w, heads, -1)
        start += h * w
        for head in range(heads):
            for point in range(offsets.shape[3]):
                x = centres[:, 0] * w + offsets[:, head, level, point, 0] - 0.5
                y = centres[:, 1] * h + offsets[:, head, level, point, 1] - 0.5
                read = read_bilinearly(image[:, :, head], x, y)
                out[:, head] += weights[:, head, level, point, None] * read
    return linear(of(state, "output_proj"), out.reshape(cells, dim))


def pixel_decoder(state: State, maps: Sequence[Tensor], heads: int) -> tuple[Tensor, list[Tensor]]:
    """One image's maps (1, C, h, w), the finest first."""
    levels = []
    for index, x in enumerate(maps[:0:-1]):
        y = pointwise(of(state, f"input_proj.{index}.0"), x.double())
        levels.append(group_norm(of(state, f"input_proj.{index}.1"), y)[0])
    dim = len(levels[0])
    shapes = [(level.shape[1], level.shape[2]) for level in levels]
    source = torch.cat([level.reshape(dim, -1).T for level in levels])
    transformer = of(state, "transformer")
    place = torch.cat(
        [
            positions(h, w, dim).reshape(-1, dim) + transformer["level_embed"][level]
            for level, (h, w) in enumerate(shapes)
        ]
    )
    for index in range(1 + max(int(k.split(".")[1]) for k in transformer if "layers" in k)):
        layer = of(transformer, f"layers.{index}")
        seen = deformable(of(layer, "self_attn"), source + place, source, shapes, heads)
        source = layer_norm(of(layer, "norm1"), source + seen)
        inner = linear(of(layer, "linear1"), source).clamp(min=0)
        source = layer_norm(of(layer, "norm2"), source + linear(of(layer, "linear2"), inner))
    levels, start = [], 0
    for h, w in shapes:
        levels.append(source[start : start + h * w].T.reshape(dim, h, w))
        start += h * w
    adapter, smooth = of(state, "adapter_1"), of(state, "layer_1")
    lateral = group_norm(of(adapter, "norm"), pointwise({"weight": adapter["weight"]}, maps[0]))
    joined = lateral + resize(levels[-1], *lateral.shape[-2:])
    smoothed = F.conv2d(joined, smooth["weight"], padding=1)
    smoothed = group_norm(of(smooth, "norm"), smoothed).clamp(min=0)
    return pointwise(of(state, "mask_features"), smoothed)[0], levels


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, blocked: Tensor | None = None) -> Tensor:
    """(Q, C), (S, C) and (S, C), projected -> (Q, C), head by head and query by query."""
    out = []
    for qh, kh, vh in zip(*(x.chunk(heads, 1) for x in (q, k, v)), strict=True):
        logits = qh @ kh.T / math.sqrt(qh.shape[1])
        rows = []
        for index, row in enumerate(logits):
            seen = torch.ones_like(row, dtype=torch.bool)
            if blocked is not None and not blocked[index].all():
                seen = ~blocked[index]
            weights = (row[seen] - row[seen].max()).exp()
            rows.append(weights / weights.sum() @ vh[seen])
        out.append(torch.stack(rows))
    return torch.cat(out, 1)


def multihead(
    state: State, q: Tensor, k: Tensor, v: Tensor, heads: int, blocked: Tensor | None = None
) -> Tensor:
    weights, biases = state["in_proj_weight"].chunk(3), state["in_proj_bias"].chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip((q, k, v), weights, biases, strict=True))
    return linear(of(state, "out_proj"), attention(q, k, v, heads, blocked))


def decoder(
    state: State, levels: list[Tensor], mask_features: Tensor, heads: int
) -> list[tuple[Tensor, Tensor]]:
    """One image: by point, normalised queries (Q, dim) and masks (Q, h, w), all at full size."""
    dim = len(mask_features)
    queries, place = state["query_feat.weight"], state["query_embed.weight"]
    points = []

    def look() -> None:
        normed = layer_norm(of(state, "decoder_norm"), queries)
        embedded = perceptron(of(state, "mask_embed"), normed)
        points.append((normed, torch.einsum("qc,chw->qhw", embedded, mask_features)))

    look()
    crosses = [k for k in state if k.endswith("multihead_attn.in_proj_weight")]
    for index in range(len(crosses)):
        level = levels[index % 3]
        value = level.reshape(dim, -1).T + state["level_embed.weight"][index % 3]
        key = value + positions(*level.shape[-2:], dim).reshape(-1, dim)
        mask = resize(points[-1][1], *level.shape[-2:]).reshape(len(queries), -1)
        blocked = 1 / (1 + (-mask).exp()) < 0.5
        cross = of(state, f"transformer_cross_attention_layers.{index}")
        seen = multihead(of(cross, "multihead_attn"), queries + place, key, value, heads, blocked)
        queries = layer_norm(of(cross, "norm"), queries + seen)
        own = of(state, f"transformer_self_attention_layers.{index}")
        placed = queries + place
        seen = multihead(of(own, "self_attn"), placed, placed, queries, heads)
        queries = layer_norm(of(own, "norm"), queries + seen)
        feed = of(state, f"transformer_ffn_layers.{index}")
        inner = linear(of(feed, "linear1"), queries).clamp(min=0)
        queries = layer_norm(of(feed, "norm"), queries + linear(of(feed, "linear2"), inner))
        look()
    return points


def class_logits(vectors: Tensor, classes: list[Tensor], scale: Tensor) -> Tensor:
    """(Q, D) and each class's synonyms (s, D) -> (Q, len(classes)), the best synonym's."""
    logits = [
        torch.stack([scale * F.cosine_similarity(v[None], rows).max() for rows in classes])
        for v in vectors
    ]
    return torch.stack(logits)


def maskformer(
    state: State, maps: Sequence[Tensor], classes: list[Tensor], heads: int
) -> list[tuple[Tensor, Tensor]]:
    """One image: by point, class logits (Q, K + 1) and masks (Q, h, w)."""
    mask_features, levels = pixel_decoder(of(state, "pixel_decoder"), maps, heads)
    found = []
    for point, (queries, masks) in enumerate(
        decoder(of(state, "decoder"), levels, mask_features, heads)
    ):
        feature = linear(of(state, "class_embed"), queries).clamp(min=0)
        vectors = linear(of(state, f"class_projections.{point}"), feature)
        void = state["classifier.void"].double()
        scale = state["classifier.logit_scale"].double().exp()
        found.append((class_logits(vectors, [*classes, void], scale), masks))
    return found


def mean_under_mask(features: Tensor, mask: Tensor) -> Tensor:
    """(C, h, w) and (h, w) -> (C,)."""
    cells = features[:, mask > 0]
    return cells.sum(1) / max(1, cells.shape[1])


def fcclip_trained(
    state: State, maps: Sequence[Tensor], classes: list[Tensor], heads: int
) -> list[tuple[Tensor, Tensor]]:
    """One image: by point, the trained classifier's logits (Q, K + 1) and masks (Q, h, w)."""
    mask_features, levels = pixel_decoder(of(state, "pixel_decoder"), maps, heads)
    found = []
    for queries, masks in decoder(of(state, "decoder"), levels, mask_features, heads):
        pooled = torch.stack([mean_under_mask(mask_features, mask) for mask in masks])
        pooled = layer_norm(of(state, "mask_pooling_proj.0"), pooled)
        vectors = perceptron(
            of(state, "class_embed"), queries + linear(of(state, "mask_pooling_proj.1"), pooled)
        )
        void = state["classifier.void"].double()
        scale = state["classifier.logit_scale"].double().exp().clamp(max=100)
        found.append((class_logits(vectors, [*classes, void], scale), masks))
    return found


def resnet_region(pool: State, last: Tensor, mask: Tensor, heads: int) -> Tensor | None:
    """CLIP's attention pool (state_dict) of (C, h, w) under a mask of that size -> (D,); None where
    the mask has no cell."""
    if not (mask > 0).any():
        return None
    c, h, w = last.shape
    table = pool["positional_embedding"].double()
    side = int(math.sqrt(len(table) - 1))
    grid = resize(table[1:].T.reshape(c, side, side), h, w).reshape(c, -1).T
    cells = last.reshape(c, -1).T
    query = (cells.mean(0) + table[0])[None]
    keys = (cells + grid)[mask.flatten() > 0]
    q, k, v = (
        linear(of(pool, f"{name}_proj"), x) for name, x in (("q", query), ("k", keys), ("v", keys))
    )
    return linear(of(pool, "c_proj"), attention(q, k, v, heads))[0]


def joined(
    trained: Tensor, of_clip: list[Tensor | None], seen: list[bool], shares: tuple[float, float]
) -> Tensor:
    """Trained logits (Q, K + 1) and CLIP's by query (K,) -> probabilities (Q, K + 1), as products
    of powers of probabilities."""
    rows = []
    for logits, other in zip(trained, of_clip, strict=True):
        share = torch.tensor([shares[0] if s else shares[1] for s in seen], dtype=torch.float64)
        inside = logits[:-1].softmax(0)
        joint = inside
        if other is not None:
            joint = inside ** (1 - share) * other.softmax(0) ** share
        void = logits.softmax(0)[-1:]
        rows.append(torch.cat((joint / joint.sum() * (1 - void), void)))
    return torch.stack(rows)
