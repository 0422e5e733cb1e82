"""Training: CLIP itself on images with captions."""

from sparse_ovs.training.clip import ClipTraining, train_clip

__all__ = ["ClipTraining", "train_clip"]
