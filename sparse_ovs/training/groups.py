"""Parameter groups: what weight decay pulls on, and what it leaves alone."""

from __future__ import annotations

from typing import Any

from torch import nn


def decay_groups(model: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: weights with decay; norms, biases, other vectors and
    scalars, and embeddings (of tokens, positions, queries, ...) without.

    Embeddings are the weights of nn.Embedding, and parameters whose names end in "embedding" or
    "embed".
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        embedding = id(parameter) in tables or name.endswith(("embedding", "embed"))
        (plain if embedding or parameter.dim() <= 1 else decayed).append(parameter)
    return [
        {"params": decayed, "lr": lr, "weight_decay": weight_decay},
        {"params": plain, "lr": lr, "weight_decay": 0.0},
    ]
