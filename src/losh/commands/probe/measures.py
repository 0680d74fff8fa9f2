"""What the probe measures (docs/probe.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from losh.evaluate.metrics.bootstrap import clip_means, percentile_interval
from losh.inference.overlap import mask_iou

KINDS = ("plain", "misleading", "ambiguous")
MEASURES = (
    "own_before",
    "own_after",
    "other_before",
    "other_after",
    "changed",
    "changed_reworded",
    "follows",
)
INTERVALS = ("changed", "follows")
"""Measures with a 95 % interval over clips."""


@dataclass(frozen=True)
class Change:
    """One sample: what became of its prediction."""

    clip: str
    kind: str
    own_before: float
    """IoU of the sentence's prediction with its own object."""
    own_after: float
    """IoU of the swapped sentence's prediction with the same object."""
    other_before: float
    """IoU of the sentence's prediction with the object whose action the swapped one speaks of."""
    other_after: float
    """IoU of the swapped sentence's prediction with that object."""
    changed: float
    """1 - IoU of both predictions."""
    changed_reworded: float
    """1 - IoU of the predictions for the sentence and for the same action in other words."""

    @property
    def follows(self) -> float:
        """1 where the swapped sentence's prediction lies more on the other object, else 0."""
        return float(self.other_after > self.own_after)


def change_of(
    clip: str,
    kind: str,
    predictions: tuple[np.ndarray, np.ndarray, np.ndarray],
    own: np.ndarray,
    other: np.ndarray,
) -> Change:
    """Measure one sample.

    Args:
        clip: its video.
        kind: of KINDS.
        predictions: for the sentence, for the swapped and for the reworded one; bool [H, W] each,
            as are the true masks `own` and `other`.
        own: of the sentence's object.
        other: of the object whose action the swapped sentence speaks of.
    """
    before, after, reworded = predictions
    return Change(
        clip,
        kind,
        mask_iou(before, own),
        mask_iou(after, own),
        mask_iou(before, other),
        mask_iou(after, other),
        1 - mask_iou(before, after),
        1 - mask_iou(before, reworded),
    )


def summary(changes: Iterable[Change]) -> dict[str, dict[str, Any]]:
    """Kind, and `all` -> `samples`, the mean of each measure, and of INTERVALS `low` and `high`."""
    given = list(changes)
    groups = {kind: [one for one in given if one.kind == kind] for kind in KINDS} | {"all": given}
    found: dict[str, dict[str, Any]] = {}
    for kind, own in groups.items():
        if not own:
            continue
        values = {name: [getattr(one, name) for one in own] for name in MEASURES}
        clips = [one.clip for one in own]
        found[kind] = {"samples": len(own)}
        found[kind] |= {name: float(np.mean(column)) for name, column in values.items()}
        if len(set(clips)) > 1:
            found[kind] |= {
                f"{name}_interval": percentile_interval(clip_means(clips, values[name]))
                for name in INTERVALS
            }
    return found
