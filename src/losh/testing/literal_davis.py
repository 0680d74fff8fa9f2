"""The DAVIS measures written down literally from their definition: the tests' reference.

They are slow, without morphology or packing.
"""

from __future__ import annotations

import math

import numpy as np


def literal_boundary(mask: np.ndarray) -> np.ndarray:
    """Return the pixels that differ from their right, lower or lower-right neighbour.

    Beyond the image the nearest pixel repeats.
    """
    height, width = mask.shape
    boundary = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            below, right = min(y + 1, height - 1), min(x + 1, width - 1)
            boundary[y, x] = (
                mask[y, x] != mask[y, right]
                or mask[y, x] != mask[below, x]
                or mask[y, x] != mask[below, right]
            )
    return boundary


def literal_matched(boundary: np.ndarray, other: np.ndarray, radius: int) -> int:
    """Count the pixels of `boundary` that have one of `other` at a distance of at most `radius`."""
    places = np.argwhere(other)
    return sum(
        bool((((places - place) ** 2).sum(axis=1) <= radius * radius).any())
        for place in np.argwhere(boundary)
    )


def literal_f(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Boundary F of two bool masks `[H, W]`."""
    radius = math.ceil(0.008 * math.sqrt(prediction.shape[0] ** 2 + prediction.shape[1] ** 2))
    predicted, true = literal_boundary(prediction), literal_boundary(truth)
    if not predicted.any() and not true.any():
        precision, recall = 1.0, 1.0
    elif not predicted.any():
        precision, recall = 1.0, 0.0
    elif not true.any():
        precision, recall = 0.0, 1.0
    else:
        precision = literal_matched(predicted, true, radius) / predicted.sum()
        recall = literal_matched(true, predicted, radius) / true.sum()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def literal_j(prediction: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two bool masks `[H, W]`; 1 if both are empty."""
    union = (prediction | truth).sum()
    return 1.0 if union == 0 else float((prediction & truth).sum() / union)
