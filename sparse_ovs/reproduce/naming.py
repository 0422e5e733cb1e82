"""How much of what an encoder could name it still names."""

from __future__ import annotations

from sparse_ovs.backbones import Backbone
from sparse_ovs.evaluation import emoji_zero_shot
from sparse_ovs.reproduce.experiment import Experiment


def name_things(backbone: Backbone, experiment: Experiment) -> dict[str, float]:
    """Zero-shot top-1 by split, of the splits that the experiment wants."""
    plan = experiment.naming
    return {split: emoji_zero_shot(backbone, split, plan.pictures).top1 for split in plan.splits}
