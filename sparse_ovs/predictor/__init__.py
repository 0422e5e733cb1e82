"""What all tasks on a CLIP encoder share: pictures in, maps and words' embeddings out."""

from sparse_ovs.predictor.predictor import Predictor, RandomWeightsWarning
from sparse_ovs.predictor.tasks import TASKS, Task, find_task, register_task

__all__ = [
    "TASKS",
    "Predictor",
    "RandomWeightsWarning",
    "Task",
    "find_task",
    "register_task",
]
