"""Images to prune, train and evaluate on."""

from sparse_ovs.data.image_folder import ImageFolder

__all__ = ["ImageFolder"]
