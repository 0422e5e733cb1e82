"""Parameter groups: what weight decay pulls on, and what it leaves alone."""

from __future__ import annotations

from typing import Any

from torch import nn


def decay_groups(model: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: weights with decay; norms, biases, other vectors and
    scalars, and embeddings (of tokens, positions, queries, ...) without. Empty groups are left out.

    Embeddings are the weights of nn.Embedding, and parameters whose names end in "embedding" or
    "embed"; a vector may have one row.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        embedding = id(parameter) in tables or name.endswith(("embedding", "embed"))
        vector = parameter.numel() == max(parameter.shape, default=1)
        (plain if embedding or vector else decayed).append(parameter)
    groups = [
        {"params": decayed, "lr": lr, "weight_decay": weight_decay},
        {"params": plain, "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
