"""A frame with its masks; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from losh.own_video.clip_input import Frame


@dataclass(frozen=True)
class MaskedFrame:
    """What the network says of one frame."""

    frame: Frame
    masks: np.ndarray
    """bool [N, H, W], one a sentence, at the frame's own size."""
    scores: np.ndarray
    """float32 [N]: what the network gives the chosen query, 0 to 1. It is not calibrated: trained
    where every sentence has its object, it is high where there is none, too.
    """
    streams: np.ndarray | None = None
    """bool [N, S, H, W] where asked for: what each stream alone would mask of the chosen query, the
    long one first; S = 1 where the long one decides alone.
    """
