"""Several seeds of one row: mean, spread, and the difference to the base, seed by seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from losh.commands.ablation.results import Result

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """One row on one dataset over its seeds, by one score."""

    base: str
    row: str
    changes: str
    dataset: str
    values: dict[int, float]
    """Seed -> score."""
    mean: float
    deviation: float
    """Standard deviation over seeds (n - 1); NaN for one."""
    half_width: float
    """Half of the mean's 95 % interval (Student's t); NaN for one seed."""
    difference: float
    """Mean of (row - base) over the seeds that both have; NaN without any."""
    p_value: float
    """Of the paired t-test that this difference is 0; NaN under two pairs, or where no two pairs
    differ.
    """


def main_score(results: list[Result]) -> str:
    """The score that rows are judged by: the first of these that is there."""
    candidates = ("mean_iou", "j_and_f", "per_expression.mean.j_and_f")
    return next(
        (key for key in candidates if any(key in one.scores for one in results)), candidates[0]
    )


def summaries(results: list[Result], score: str) -> list[Summary]:
    """A summary per base, row, change and dataset, in the order of `results`."""
    groups: dict[tuple[str, str, str, str], dict[int, float]] = {}
    for one in results:
        if score in one.scores:
            groups.setdefault(one.group, {})[one.seed] = one.scores[score]
    return [
        _summary(group, values, groups.get((group[0], "base", *group[2:]), {}))
        for group, values in groups.items()
    ]


def _summary(
    group: tuple[str, str, str, str], values: dict[int, float], base: dict[int, float]
) -> Summary:
    given = np.array(list(values.values()))
    n = len(given)
    deviation = float(given.std(ddof=1)) if n > 1 else math.nan
    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) if n > 1 else math.nan
    pairs = sorted(values.keys() & base.keys()) if group[1] != "base" else []
    ours, theirs = (np.array([of[seed] for seed in pairs]) for of in (values, base))
    gains = ours - theirs
    tested = len(pairs) > 1 and float(np.ptp(gains)) > 1e-12
    return Summary(
        *group,
        values,
        float(given.mean()),
        deviation,
        quantile * deviation / math.sqrt(n),
        float(gains.mean()) if pairs else math.nan,
        float(stats.ttest_rel(ours, theirs).pvalue) if tested else math.nan,
    )
