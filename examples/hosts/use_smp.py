"""segmentation_models_pytorch: any of its decoders on a sparse encoder."""

import segmentation_models_pytorch as smp
import torch

import sparse_ovs

model = smp.Unet("tu-resnet50_clip", encoder_weights=None, classes=5)  # with your weights
report = sparse_ovs.swap_backbone(model, density=0.1)
print(report)  # found at encoder.model; the decoder stays dense
model.eval()
with torch.no_grad():
    logits = model(torch.randn(1, 3, 128, 128))
print(logits.shape)
