"""Heavy-tailed spectra of pretrained weights: alpha by layer, and which layers to freeze by it."""
