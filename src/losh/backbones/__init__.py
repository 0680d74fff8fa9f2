"""Visual backbones and their pretrained weights."""
