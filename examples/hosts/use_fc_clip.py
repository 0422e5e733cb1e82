"""fc-clip: a sparse encoder inside a model that is already built, masks of any framework."""

import torch

import sparse_ovs
from fc_clip_tree import FCCLIP  # a stand-in of random weights; yours comes from detectron2

model = FCCLIP()  # build_model(cfg), with your checkpoint loaded
report = sparse_ovs.swap_backbone(model, density=0.1)  # or masks="masks.safetensors"
print(report)  # found at backbone.clip_model.visual; the attention pool and the head stay dense
model.eval()
masks, embeddings = model(torch.randn(1, 3, 128, 128))
print(masks.shape, embeddings.shape)
