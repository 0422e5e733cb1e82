"""Which parameters weight decay pulls on."""

from __future__ import annotations

from torch import nn

from sparse_ovs import create_backbone
from sparse_ovs.heads import create_head
from sparse_ovs.training.groups import decay_groups


def _names(model: nn.Module) -> tuple[set[str], set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, plain = decay_groups(model, 0.1, 0.05)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    first, second = ({names[id(p)] for p in group["params"]} for group in (decayed, plain))
    return first, second


def test_norms_biases_scales_and_embeddings_of_a_clip_do_not_decay() -> None:
    model = create_backbone("scenes-RN50").clip.model
    decayed, plain = _names(model)
    assert decayed | plain == {name for name, _ in model.named_parameters()}
    assert {
        "logit_scale",
        "token_embedding.weight",
        "positional_embedding",
        "visual.attnpool.positional_embedding",
        "visual.bn1.weight",
        "ln_final.bias",
        "visual.attnpool.q_proj.bias",
    } <= plain
    assert {"visual.conv1.weight", "text_projection", "visual.attnpool.q_proj.weight"} <= decayed


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert _names(model) == ({"1.weight"}, {"1.bias"})


def test_the_learned_vectors_of_a_head_do_not_decay() -> None:
    head = create_head("maskformer", create_backbone("scenes-RN50"), "small")
    decayed, plain = _names(head)
    assert {
        "decoder.query_feat.weight",
        "decoder.level_embed.weight",
        "classifier.void",
        "classifier.logit_scale",
    } <= plain
    assert {"class_embed.weight", "decoder.mask_embed.layers.0.weight"} <= decayed
