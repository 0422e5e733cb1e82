"""timm: a sparse encoder in place of a dense one, whole or features_only."""

import timm
import torch

import sparse_ovs

model = timm.create_model("resnet50_clip", features_only=True, out_indices=(1, 2, 3, 4))
report = sparse_ovs.swap_backbone(model, density=0.1)
print(report)
# The same in one step, since importing sparse_ovs registers it:
# timm.create_model("sparse_resnet50_clip", density=0.1, features_only=True)
model.eval()
with torch.no_grad():
    maps = model(torch.randn(1, 3, 128, 128))
print(maps[-1].shape)
