"""Region similarity J: the intersection over union of two masks.

Source: Perazzi et al., "A benchmark dataset and evaluation methodology for video object
segmentation", CVPR 2016.
"""

from __future__ import annotations

import numpy as np

from losh.inference.overlap import intersection_and_union, iou


def region_j(
    prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> np.ndarray:
    """J of each frame.

    Args:
        prediction, truth: bool `[..., H, W]`.
        void: bool, broadcast to them; its pixels count neither for nor against.

    Returns:
        float64 `[...]`, 0 to 1; 1 where both masks are empty, as the DAVIS evaluation has it.
    """
    if void is not None:
        prediction, truth = prediction & ~void, truth & ~void
    return iou(*intersection_and_union(prediction, truth))
