"""MTTR's masks: the spatial decoder that makes their features, and the way to the original size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from losh.model.mask_losses import resized
from losh.model.pipeline import MaskRule
from losh.model.structures import FrameSizes

GROUPS = 8


class MTTRMaskRule(MaskRule):
    """Released: bilinear to the padded input, threshold, padding off, nearest to the original."""

    def probabilities(self, logits: Tensor, sizes: FrameSizes) -> Tensor:
        """See MaskRule: [P, h, w] -> [P, H, W] of the padded input."""
        return resized(logits[:, None], sizes.padded).sigmoid()[:, 0]

    def masks(self, probabilities: Tensor, sizes: FrameSizes, threshold: float) -> Tensor:
        """See MaskRule."""
        height, width = sizes.clip
        inside = (probabilities[:, None, :height, :width] > threshold).float()
        return F.interpolate(inside, size=sizes.original, mode="nearest")[:, 0].bool()

    def at_original(self, probabilities: Tensor, sizes: FrameSizes) -> Tensor:
        """See MaskRule: bilinear (ours; MTTR has no protocol that needs it)."""
        height, width = sizes.clip
        return resized(probabilities[:, None, :height, :width], sizes.original)[:, 0]


class SpatialDecoder(nn.Module):
    """MTTR's FPN: 3x3 convolutions that halve the width each time.

    After each upsampling a level of the backbone is added, finer each time. Its adapter has
    projected it before: the caller does so, since one frame may serve several expressions.

    Args:
        width: channels of the memory; the levels get width / 2, / 4, / 8.
        skips: channels of the backbone's levels from the second coarsest to the finest.
        out: channels of the result, the length of a mask kernel.
    """

    def __init__(self, width: int, skips: Sequence[int], out: int) -> None:
        super().__init__()
        widths = [width, width] + [max(1, width // 2**i) for i in range(1, len(skips) + 2)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(_groups(b), b) for b in widths[1:])
        self.adapters = nn.ModuleList(
            nn.Conv2d(c, w, 1) for c, w in zip(skips, widths[2:-1], strict=True)
        )
        self.out = nn.Conv2d(widths[-1], out, 3, padding=1)
        for conv in [*self.convs, *self.adapters, self.out]:
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def forward(self, memory: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Bring the memory to the finest level: [M, C, h, w] -> [M, out, H, W].

        Skips are from the second coarsest to the finest, projected, [M, width / 2^i, Hi, Wi].
        """
        x = self._block(0, memory)
        for i, skip in enumerate(skips):
            x = self._block(i + 1, x)
            x = skip + F.interpolate(x, size=skip.shape[-2:], mode="nearest")
        return self.out(self._block(len(self.adapters) + 1, x))

    def _block(self, i: int, x: Tensor) -> Tensor:
        return F.relu(self.norms[i](self.convs[i](x)))


def _groups(channels: int) -> int:
    """8 groups (released behaviour), or for narrow models the most that divide the channels."""
    return next(g for g in range(min(GROUPS, channels), 0, -1) if channels % g == 0)
