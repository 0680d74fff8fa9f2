"""Overlap of predicted and true masks.

IoU, and the A2D-Sentences protocol's means and precisions over samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)  # of precision at K, as published


def intersection_and_union(
    prediction: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in both masks, and in either: bool `[..., H, W]` twice -> int64 `[...]` twice.

    Raises:
        ValueError: the shapes differ, or the masks are not bool.
    """
    if prediction.shape != truth.shape or prediction.dtype != bool or truth.dtype != bool:
        raise ValueError(
            f"two bool masks of one shape are needed, not {prediction.dtype} {prediction.shape} "
            f"and {truth.dtype} {truth.shape}"
        )
    axes = (-2, -1)
    both, either = prediction & truth, prediction | truth
    return np.count_nonzero(both, axis=axes), np.count_nonzero(either, axis=axes)


def iou(intersection: ArrayLike, union: ArrayLike) -> np.ndarray:
    """Intersection over union as float64; 1 where the union is empty.

    The published A2D evaluation adds 1e-6 to both, which gives 1 there too. We do not add it: it
    lifts an IoU of exactly one half over the threshold for masks of a few pixels, and changes
    nothing else by more than 1e-6.
    """
    intersection, union = np.asarray(intersection, np.float64), np.asarray(union, np.float64)
    return np.where(union > 0, intersection / np.maximum(union, 1), 1.0)


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two masks, bool `[H, W]`; 1 where both are empty."""
    return float(iou(*intersection_and_union(first, second)))


def precision_at(ious: np.ndarray, threshold: float) -> float:
    """Return the part of the samples whose IoU is strictly greater than the threshold."""
    return float(np.mean(np.asarray(ious, np.float64) > threshold))


def a2d_scores(
    ious: Sequence[float] | np.ndarray,
    intersections: Sequence[int] | np.ndarray,
    unions: Sequence[int] | np.ndarray,
) -> dict[str, float]:
    """Compute the A2D-Sentences and JHMDB-Sentences scores of the best query's masks.

    Gavrilyuk et al., CVPR 2018.

    Args:
        ious, intersections, unions: one per sample; areas in pixels.

    Returns:
        `overall_iou` (sum of intersections / sum of unions: large objects weigh more), `mean_iou`,
        and `precision_at_50` to
        `precision_at_90`: the part of the samples whose IoU is strictly greater than 0.5 ... 0.9.

    Raises:
        ValueError: there are no samples.
    """
    if not len(ious):
        raise ValueError("no samples were scored")
    covered, total = (np.sum(areas, dtype=np.int64) for areas in (intersections, unions))
    scores = {
        "overall_iou": float(iou(covered, total)),
        "mean_iou": float(np.mean(ious)),
    }
    return scores | {
        f"precision_at_{round(100 * threshold)}": precision_at(np.asarray(ious), threshold)
        for threshold in THRESHOLDS
    }


@dataclass
class Overlap:
    """Intersections and unions by sample, gathered on one device or several.

    The scores do not depend on the order in which samples come, nor on the device that scored them.
    """

    areas: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Sample id -> (intersection, union) in pixels."""

    def add(self, sample: str, prediction: np.ndarray, truth: np.ndarray) -> float:
        """Add one sample's masks, bool `[H, W]`, and return its IoU.

        Raises:
            ValueError: the sample was added before.
        """
        if sample in self.areas:
            raise ValueError(f"sample {sample!r} was scored twice")
        intersection, union = intersection_and_union(prediction, truth)
        self.areas[sample] = int(intersection), int(union)
        return float(iou(intersection, union))

    def merge(self, other: Overlap) -> None:
        """Take over another device's samples.

        One that both have (a sampler's padding) is counted once, as it stands here.
        """
        self.areas = other.areas | self.areas

    def ious(self) -> np.ndarray:
        """float64, in the order of the sorted sample ids."""
        return iou(*self._columns())

    def scores(self) -> dict[str, float]:
        """`a2d_scores` of all samples."""
        return a2d_scores(self.ious(), *self._columns())

    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        # Sorted: a mean of floats depends on the order in its last bits, and devices merge in any
        # order.
        areas = np.array([self.areas[sample] for sample in sorted(self.areas)], np.int64).reshape(
            -1, 2
        )
        return areas[:, 0], areas[:, 1]
