"""Training by settings in TOML: heads on labelled images, a small CLIP on captions."""

from sparse_ovs.training.clip import ClipTraining, train_clip
from sparse_ovs.training.recipes import find_recipe, recipe_names
from sparse_ovs.training.segmentation import train_segmenter
from sparse_ovs.training.settings import SegmentationTraining
from sparse_ovs.training.tasks import TASKS, build_task, describe_task
from sparse_ovs.training.toml_settings import build, describe, override, read_toml

__all__ = [
    "TASKS",
    "ClipTraining",
    "SegmentationTraining",
    "build",
    "build_task",
    "describe",
    "describe_task",
    "find_recipe",
    "override",
    "read_toml",
    "recipe_names",
    "train_clip",
    "train_segmenter",
]
