"""open_clip: encode_image with a sparse image tower; the text tower stays as it is."""

import open_clip
import torch

import sparse_ovs

model = open_clip.create_model("RN50", load_weights=False)  # "RN50-quickgelu" with "openai"
report = sparse_ovs.swap_backbone(model, density=0.1, fold_bn="eval")
print(report)
model.eval()
with torch.no_grad():
    embedding = model.encode_image(torch.randn(1, 3, 224, 224), normalize=True)
print(embedding.shape)
