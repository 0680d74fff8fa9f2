"""Scores by kind of expression, of the model and beside it of the trivial predictors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from losh.evaluate.metrics.bootstrap import clip_interval


@dataclass(frozen=True)
class Judged:
    """One sample."""

    clip: str
    kind: str
    iou: float
    """The model's."""
    trivial: dict[str, float]
    """Predictor -> its IoU."""


def scores_by_kind(
    samples: Iterable[Judged], groups: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, Any]]:
    """Return the scores of each group that has a sample.

    They are `samples` and `mean_iou`; `mean_iou_interval` (`clip_interval`); and `trivial`, the
    mean IoU of each trivial predictor.

    Args:
        samples: in an order that does not depend on who scored them.
        groups: group -> kinds.
    """
    given = list(samples)
    found: dict[str, dict[str, Any]] = {}
    for group, kinds in groups.items():
        own = [one for one in given if one.kind in kinds]
        if not own:
            continue
        ious = [one.iou for one in own]
        found[group] = {
            "samples": len(own),
            "mean_iou": float(np.mean(ious)),
            "trivial": {
                name: float(np.mean([one.trivial[name] for one in own])) for name in own[0].trivial
            },
        } | clip_interval([one.clip for one in own], ious)
    return found
