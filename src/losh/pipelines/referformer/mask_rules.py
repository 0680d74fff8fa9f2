"""ReferFormer's ways from mask logits to masks of the original size.

They differ by protocol: A2D-Sentences, JHMDB-Sentences and RefCOCO enlarge to the network's input,
cut, and go to the annotation's size by nearest neighbour; the video datasets enlarge the logits to
the original size at once.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from losh.model.mask_losses import resized
from losh.model.pipeline import MaskRule
from losh.model.structures import FrameSizes

MASK_STRIDE = 4


class EnlargeAndCut(MaskRule):
    """A2D-Sentences, JHMDB-Sentences and RefCOCO."""

    def probabilities(self, logits: Tensor, sizes: FrameSizes) -> Tensor:
        """See MaskRule: four times as large, in pixels of the network's input; cut to the clip."""
        height, width = (side * MASK_STRIDE for side in logits.shape[-2:])
        whole = resized(logits[None], (height, width))[0].sigmoid()
        return whole[:, : sizes.clip[0], : sizes.clip[1]]

    def masks(self, probabilities: Tensor, sizes: FrameSizes, threshold: float) -> Tensor:
        """See MaskRule: nearest to the original size."""
        cut = (probabilities > threshold).float()[None]
        return F.interpolate(cut, size=sizes.original, mode="nearest")[0] > 0.5

    def at_original(self, probabilities: Tensor, sizes: FrameSizes) -> Tensor:
        """See MaskRule: no protocol that uses this rule compares objects, so this is ours."""
        return resized(probabilities[None], sizes.original)[0]


class StraightToOriginal(MaskRule):
    """Refer-YouTube-VOS, Refer-DAVIS17 and MeViS.

    All cells that hold a part of the clip are stretched to the original size: where a side of the
    clip is no multiple of 4, that is up to 3 px more than the frame (released behaviour).
    """

    def probabilities(self, logits: Tensor, sizes: FrameSizes) -> Tensor:
        """See MaskRule. The cut is of cells that a larger clip of the batch adds."""
        height, width = (-(-side // MASK_STRIDE) for side in sizes.clip)
        return resized(logits[None, :, :height, :width], sizes.original)[0].sigmoid()

    def masks(self, probabilities: Tensor, sizes: FrameSizes, threshold: float) -> Tensor:
        """See MaskRule."""
        return probabilities > threshold

    def at_original(self, probabilities: Tensor, sizes: FrameSizes) -> Tensor:
        """See MaskRule."""
        return probabilities


def mask_rule(protocol: str) -> MaskRule:
    """Return the rule of a protocol: a2d, youtube_vos, davis, refcoco or mevis."""
    return EnlargeAndCut() if protocol in ("a2d", "refcoco") else StraightToOriginal()
