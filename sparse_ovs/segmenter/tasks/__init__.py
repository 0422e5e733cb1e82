"""What a segmenter makes of a picture: a task is a file here and a name below."""

from sparse_ovs.predictor import register_task
from sparse_ovs.segmenter.tasks.instances import Instances
from sparse_ovs.segmenter.tasks.panoptic import Panoptic
from sparse_ovs.segmenter.tasks.semantic import Semantic

for _task in (Semantic, Panoptic, Instances):
    register_task(_task)
