"""How far a mean over samples would move with other clips: the bootstrap over clips.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, the percentile interval.
Clips are drawn, not samples: the expressions and frames of one clip share objects and background,
so that its scores go together, and samples drawn one by one would make the interval too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 10_000
SEED = 0
CONFIDENCE = 0.95
DRAWN_AT_ONCE = 2_000_000  # clips: the tables of a step stay under 50 MB


def clip_means(
    clips: Sequence[str], values: Sequence[float] | np.ndarray, draws: int = DRAWS, seed: int = SEED
) -> np.ndarray:
    """Means over samples of `draws` test sets, each of as many clips drawn with replacement.

    float64 `[draws]`. The same seed draws the same clips for the same sets of clips, so that two
    models' means are paired draw by draw.

    Args:
        clips: the clip of each sample.
        values: the score of each sample.
        draws: how many test sets.
        seed: of the draws.
    """
    names, place = np.unique(np.asarray(clips), return_inverse=True)
    sums = np.bincount(place, np.asarray(values, np.float64), len(names))
    counts = np.bincount(place, minlength=len(names))
    above, below = drawn_sums(np.stack([sums, counts], axis=1), draws, seed).T
    return above / below


def drawn_sums(sums: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """Sum over each drawn test set: of clips [clips, columns] -> [draws, columns]."""
    clips, rng = len(sums), np.random.default_rng(seed)
    step = max(1, DRAWN_AT_ONCE // clips)
    found = []
    for start in range(0, draws, step):
        sets = min(step, draws - start)
        drawn = rng.integers(clips, size=(sets, clips)) + clips * np.arange(sets)[:, None]
        times = np.bincount(drawn.ravel(), minlength=sets * clips)  # that a clip was drawn
        found.append(times.reshape(sets, clips).astype(np.float64) @ sums)
    return np.concatenate(found)


def percentile_interval(means: np.ndarray) -> dict[str, float]:
    """`low` and `high`, between which 95 % of the means lie."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return {"low": float(low), "high": float(high)}


def clip_interval(
    clips: Sequence[str], values: Sequence[float] | np.ndarray, draws: int = DRAWS, seed: int = SEED
) -> dict[str, dict[str, float]]:
    """Return `mean_iou_interval`, the 95 % interval of the mean over samples (IoUs).

    It is empty with fewer than two clips, which tell nothing of others.
    """
    if len(set(clips)) < 2:
        return {}
    return {"mean_iou_interval": percentile_interval(clip_means(clips, values, draws, seed))}
