"""sparse_ovs: pruned CLIP image encoders that really run faster, for open-vocabulary segmentation."""

__version__ = "0.1.0"
