"""What each part does over all eight rows with and without it: more is seen than row against row.

The rows from `short` to `all` are every choice of three parts, so that each training tells
something of each part: half of them have it. A two-level factorial design with the seeds as blocks
(Box, Hunter and Hunter, "Statistics for Experimenters", 2005): a part's effect is the mean of the
rows with it less that of the rows without, and what rows and seeds do not explain is its noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from losh.commands.ablation.rows import PARTS, labels
from losh.commands.ablation.statistics import CONFIDENCE, Summary

FEWEST_SEEDS = 2


@dataclass(frozen=True)
class PartEffect:
    """What a part does on one dataset, of one base pipeline."""

    base: str
    part: str
    changed: str
    dataset: str
    trainings: int
    with_it: float
    """Mean score of the trainings with the part."""
    without: float
    interval: tuple[float, float]
    """95 %, of the difference, by Student's t: of other trainings, not of other clips."""
    p_value: float


def part_effects(summed: list[Summary]) -> list[PartEffect]:
    """Return the effect of each part where all eight rows have the same two seeds or more."""
    parts_of = {label: on for label, (on, rule) in labels().items() if rule is None and on}
    found = []
    tables: dict[tuple[str, str, str], dict[str, Summary]] = {}
    for one in summed:
        if one.row in parts_of:
            tables.setdefault((one.base, one.changed, one.dataset), {})[one.row] = one
    for (base, changed, dataset), rows in tables.items():
        seeds = sorted(set.intersection(*(set(one.values) for one in rows.values())))
        if len(rows) < len(parts_of) or len(seeds) < FEWEST_SEEDS:
            continue
        scores = np.array([[rows[row].values[seed] for seed in seeds] for row in parts_of])
        for part in PARTS:
            on = np.array([part in parts for parts in parts_of.values()])
            effect = _effect(scores, on)
            found.append(PartEffect(base, part, changed, dataset, scores.size, *effect))
    return found


def _effect(scores: np.ndarray, on: np.ndarray) -> tuple[float, float, tuple[float, float], float]:
    """Mean with, mean without, interval and p of [rows, seeds]; half of the rows are `on`."""
    rows, seeds = scores.shape
    noise = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    freedom = (rows - 1) * (seeds - 1)
    error = math.sqrt(float((noise**2).sum()) / freedom * 4 / scores.size)  # of the difference
    with_it, without = float(scores[on].mean()), float(scores[~on].mean())
    gain, reach = with_it - without, float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(gain) / error, freedom)) if error else math.nan
    return with_it, without, (gain - reach, gain + reach), p_value
