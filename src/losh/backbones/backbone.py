"""What every visual backbone has, whatever network it is."""

from __future__ import annotations

from torch import nn


class Backbone(nn.Module):
    """Frames [B, T, 3, H, W] -> levels [B, T, C_i, H_i, W_i], finest first."""

    channels: list[int]
    """Of each level."""
    strides: list[int]
    """Pixels that a cell of each level covers: 4, 8, 16, ..."""
    checkpoint_blocks: bool
    """Recompute each block in the backward pass instead of keeping what is inside it."""
