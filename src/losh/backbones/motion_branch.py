"""Our addition to Video-Swin: 3-D convolutions at the finest level, which see how things move.

The published patch embedding sees one frame, and on small data attention in windows hardly learns
which pixels of two frames belong together. A convolution over time and place need not: a step of
less than its reach is one of its patterns.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (1, 2, 2)
"""Frames between a kernel's three frames, a convolution each: together they see five frames to
either side, so that every frame of a window of six knows the whole window."""


class MotionBranch(nn.Module):
    """Three 3 x 3 x 3 convolutions whose result is added to the patch embedding (our choice).

    The last layer is zero at the start: a network with published weights stays what it was, to the
    bit, until it is trained.
    """

    def __init__(self, channels: int, width: int) -> None:
        """`width`: channels of the convolutions."""
        super().__init__()
        self.convs = nn.ModuleList()
        for i, step in enumerate(DILATIONS):
            size = (width if i else channels, width, 3)
            conv = nn.Conv3d(*size, bias=True, padding=(step, 1, 1), dilation=(step, 1, 1))
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            self.convs.append(conv)
        self.out = nn.Linear(width, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> the same shape; `x` itself while the last layer is zero."""
        features = x.permute(0, 4, 1, 2, 3)  # [B, C, T, H, W], its memory channels-last
        for conv in self.convs:
            features = F.relu(conv(features))
        return x + self.out(features.permute(0, 2, 3, 4, 1))
