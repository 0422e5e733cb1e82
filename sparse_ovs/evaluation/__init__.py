"""How good a segmenter is on labelled images: mIoU in both public variants, and its protocol."""

from sparse_ovs.evaluation.confusion import Confusion
from sparse_ovs.evaluation.emoji_zero_shot import ZeroShot, emoji_zero_shot
from sparse_ovs.evaluation.evaluate import Evaluation, evaluate
from sparse_ovs.evaluation.protocol import Protocol
from sparse_ovs.evaluation.scores import VARIANTS, ClassScore, Scores, scores, seen_classes
from sparse_ovs.evaluation.zero_shot import zero_shot_accuracy
from sparse_ovs.loop.processes import Accelerated, Alone, Processes, launched

__all__ = [
    "VARIANTS",
    "Accelerated",
    "Alone",
    "ClassScore",
    "Confusion",
    "Evaluation",
    "Processes",
    "Protocol",
    "Scores",
    "ZeroShot",
    "emoji_zero_shot",
    "evaluate",
    "launched",
    "scores",
    "seen_classes",
    "zero_shot_accuracy",
]
