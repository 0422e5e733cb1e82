"""Images to prune, train and evaluate on: folders, the public segmentation sets, made scenes."""

from sparse_ovs.data.dataset import IGNORE, Inspection, Sample, SegmentationDataset
from sparse_ovs.data.emoji import EmojiScenes
from sparse_ovs.data.image_folder import ImageFolder
from sparse_ovs.data.images import read_image, to_rgb
from sparse_ovs.data.registry import DATASETS, open_dataset
from sparse_ovs.data.scenes import Scenes

__all__ = [
    "DATASETS",
    "IGNORE",
    "EmojiScenes",
    "ImageFolder",
    "Inspection",
    "Sample",
    "Scenes",
    "SegmentationDataset",
    "open_dataset",
    "read_image",
    "to_rgb",
]
