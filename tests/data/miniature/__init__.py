"""Public datasets in miniature: two images each, in the folders and codes of the real ones.

Every builder is called with a root and the name of a dataset, writes its files, and returns the
labels that a reader has to find: image -> int32 (H, W), -1 where nothing counts.
"""
