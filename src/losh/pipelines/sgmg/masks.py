"""SgMg's masks: patch masks by each query's own convolutions, and the refinement of the chosen one.

The convolutions are its Conditional Patch Kernel. The refinement, with the backbone's finest
levels, is its Multi-granularity Segmentation Optimizer.

M frames, N queries, C channels. A patch mask holds a patch of 4 x 4 mask logits in the 16 channels
of a cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.model.mask_losses import resized
from losh.model.pipeline import MaskRule
from losh.model.structures import FrameSizes

PATCH = 4
"""Rows and columns of logits in a cell: channel 4 dy + dx is row dy and column dx (pixel
shuffle)."""
PATCH_CHANNELS = PATCH**2


class SgMgMaskRule(MaskRule):
    """Padding off, LOGITS bilinear to the original size, then the threshold.

    Released behaviour.
    """

    def probabilities(self, logits: Tensor, sizes: FrameSizes) -> Tensor:
        """See MaskRule: [P, h, w] at the padded input's size -> [P, H0, W0]."""
        height, width = sizes.clip
        return resized(logits[:, None, :height, :width], sizes.original).sigmoid()[:, 0]

    def masks(self, probabilities: Tensor, sizes: FrameSizes, threshold: float) -> Tensor:
        """See MaskRule."""
        return probabilities > threshold

    def at_original(self, probabilities: Tensor, sizes: FrameSizes) -> Tensor:
        """See MaskRule: they are at the original size already."""
        return probabilities


def summed(levels: Sequence[Tensor]) -> Tensor:
    """Add up memory maps [M, C, h_i, w_i], finest first -> [M, C, h, w].

    Each is resized to the finest (bicubic) before.
    """
    size = levels[0].shape[-2:]
    return torch.stack(
        [F.interpolate(x, size=size, mode="bicubic", align_corners=False) for x in levels]
    ).sum(0)


def patches_of(masks: Tensor) -> Tensor:
    """Masks [..., 4 h, 4 w] as patch masks [..., 16, h, w]."""
    height, width = masks.shape[-2] // PATCH, masks.shape[-1] // PATCH
    cells = masks.unflatten(-1, (width, PATCH)).unflatten(-3, (height, PATCH))
    return cells.movedim((-3, -1), (-4, -3)).flatten(-4, -3)  # [..., h, 4, w, 4] first


def masks_of(patches: Tensor) -> Tensor:
    """Return patch masks [..., 16, h, w] as masks [..., 4 h, 4 w].

    (torch's pixel_shuffle and pixel_unshuffle fail where there are none.)
    """
    cells = patches.unflatten(-3, (PATCH, PATCH))
    return cells.movedim((-4, -3), (-3, -1)).flatten(-4, -3).flatten(-2)


class MaskRefiner(nn.Module):
    """The refinement of the chosen query's patch mask, from stride 8 to stride 4.

    It uses the backbone's two finest levels.

    Args:
        channels: of the backbone's levels of stride 4 and 8.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        fine, coarse = channels
        self.coarse = self._block(coarse)
        self.fine = self._block(fine)

    @staticmethod
    def _block(channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(PATCH_CHANNELS + channels, PATCH_CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(PATCH_CHANNELS, PATCH_CHANNELS, 3, padding=1),
        )

    def forward(self, patches: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        """Refine patch masks.

        Args:
            patches: [M, 16, h, w] at stride 8.
            fine: the backbone's level of stride 4, [M, Cf, h', w'].
            coarse: the one of stride 8, [M, Cc, h, w].

        Returns:
            [M, 16, h', w'].
        """
        patches = patches + self.coarse(torch.cat([patches, coarse], 1))
        patches = F.interpolate(patches, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return patches + self.fine(torch.cat([patches, fine], 1))
