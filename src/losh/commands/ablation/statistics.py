"""Several seeds of one row: mean, spread, and differences to other rows, seed by seed.

A difference may be chance in two ways. Another seed may turn it: the paired t-test over seeds says
how likely seeds alone make it so large. Other clips may turn it: the paired bootstrap over clips
says between which values it lies on 95 % of test sets. Neither sees what the other sees, so a
difference is called more than chance only where both do (our choice). The t-test needs two seeds
and is weak with three (at n = 3 a difference must be 2.5 times its own standard deviation); the
bootstrap alone would call two trainings of one row that differ in the seed different.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from losh.commands.ablation.results import COMMIT, Result
from losh.commands.ablation.rows import AGAINST
from losh.evaluate.metrics.bootstrap import clip_means, percentile_interval

CONFIDENCE = 0.95

Samples = dict[tuple[str, ...], float]
"""(clip, set, expression, frame) -> score."""
Group = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Difference:
    """What a row scores more than another."""

    against: str
    """The other row."""
    mean: float
    """Over the seeds that both have."""
    seeds: int
    p_value: float
    """Of the paired t-test over seeds that the difference is 0; NaN under two pairs, or where no
    two pairs differ.
    """
    interval: tuple[float, float] | None
    """95 %, of the mean over the seeds whose samples' scores are at hand, by the paired bootstrap
    over clips; None where they are of no seed.
    """
    runs: tuple[str, ...] = ()
    """What it is of, seed:commit/commit of the row and of the other."""
    interval_runs: tuple[str, ...] = ()
    """Those of them that the interval is of."""

    @property
    def verdict(self) -> str:
        """Whether the difference is more than chance: `yes`, `no`, or `one seed`."""
        if self.seeds < 2:
            return "one seed"
        other_clips = self.interval is None or self.interval[0] > 0 or self.interval[1] < 0
        return "yes" if self.p_value < 1 - CONFIDENCE and other_clips else "no"


@dataclass(frozen=True)
class Summary:
    """One row on one dataset over its seeds, by one score."""

    base: str
    row: str
    changed: str
    dataset: str
    values: dict[int, float]
    """Seed -> score."""
    mean: float
    deviation: float
    """Standard deviation over seeds (n - 1); NaN for one."""
    half_width: float
    """Half of the mean's 95 % interval (Student's t); NaN for one seed."""
    means: dict[str, float] = field(default_factory=dict)
    """Every score that all seeds have -> its mean over them."""
    to_base: Difference | None = None
    """None for the base itself, and where no seed has both."""
    to_neighbour: Difference | None = None
    """The same against the row that AGAINST names."""
    by_kind: dict[str, Difference] = field(default_factory=dict)
    """Score of a kind of expressions -> what the row scores more than the base there."""


def main_score(results: list[Result]) -> str:
    """Return the score that rows are judged by: the first of these that is there."""
    candidates = ("mean_iou", "j_and_f", "per_expression.mean.j_and_f")
    return next(
        (key for key in candidates if any(key in one.scores for one in results)), candidates[0]
    )


def summaries(
    results: list[Result],
    score: str,
    samples: Callable[[Result, str], Samples | None] = lambda *_: None,
    kinds: Sequence[str] = (),
) -> list[Summary]:
    """Make a summary per base, row, change and dataset, in the order of `results`.

    Args:
        results: of `losh.commands.ablation.results`.
        score: which one.
        samples: gives a score of each sample of a result, or None.
        kinds: the scores of kinds of expressions that are compared with the base's, too.
    """
    groups: dict[Group, dict[int, Result]] = {}
    for one in results:
        if score in one.scores:
            groups.setdefault(one.group, {})[one.seed] = one
    found = []
    for group, runs in groups.items():
        row = group[1]
        neighbour = AGAINST.get(row, "")
        base, beside = (
            _other_row(groups, group, other) if other != row else {}
            for other in ("base", neighbour)
        )
        to_base = _difference("base", runs, base, score, samples)
        to_neighbour = _difference(neighbour, runs, beside, score, samples)
        by_kind = {
            key: found_there
            for key in kinds
            if all(key in one.scores for of in (runs, base) for one in of.values())
            if (found_there := _difference("base", runs, base, key, samples)) is not None
        }
        found.append(_summary(runs, score, to_base, to_neighbour, by_kind))
    return found


def _other_row(groups: dict[Group, dict[int, Result]], group: Group, row: str) -> dict:
    """Return the runs of another row with the same changes.

    Where several have these changes, they are those with the same weights too.
    """
    base, _, changes, weights, dataset = group
    fitting = {
        of: runs
        for of, runs in groups.items()
        if (of[0], of[1], of[2], of[4]) == (base, row, changes, dataset)
    }
    exact = (base, row, changes, weights, dataset)
    if exact in fitting or len(fitting) != 1:
        return fitting.get(exact, {})
    return next(iter(fitting.values()))


def _summary(
    runs: dict[int, Result],
    score: str,
    to_base: Difference | None,
    to_neighbour: Difference | None,
    by_kind: dict[str, Difference],
) -> Summary:
    one = next(iter(runs.values()))
    values = {seed: run.scores[score] for seed, run in runs.items()}
    given = np.array(list(values.values()))
    n = len(given)
    deviation = float(given.std(ddof=1)) if n > 1 else math.nan
    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) if n > 1 else math.nan
    return Summary(
        one.base,
        one.row,
        one.changed,
        one.dataset,
        values,
        float(given.mean()),
        deviation,
        quantile * deviation / math.sqrt(n),
        _means(list(runs.values())),
        to_base,
        to_neighbour,
        by_kind,
    )


def _means(runs: list[Result]) -> dict[str, float]:
    shared = [key for key in runs[0].scores if all(key in run.scores for run in runs)]
    return {key: float(np.mean([run.scores[key] for run in runs])) for key in shared}


def _difference(
    against: str,
    runs: dict[int, Result],
    theirs: dict[int, Result],
    score: str,
    samples: Callable[[Result, str], Samples | None],
) -> Difference | None:
    seeds = sorted(runs.keys() & theirs.keys())
    if not seeds:
        return None
    ours, others = (np.array([of[seed].scores[score] for seed in seeds]) for of in (runs, theirs))
    gains = ours - others
    tested = len(seeds) > 1 and float(np.ptp(gains)) > 1e-12
    names = [f"{s}:{runs[s].start[:COMMIT]}/{theirs[s].start[:COMMIT]}" for s in seeds]
    pairs = [(samples(runs[seed], score), samples(theirs[seed], score)) for seed in seeds]
    interval = paired_interval(pairs)
    at_hand = [name for name, pair in zip(names, pairs, strict=True) if all(pair)]
    return Difference(
        against,
        float(gains.mean()),
        len(seeds),
        float(stats.ttest_rel(ours, others).pvalue) if tested else math.nan,
        interval,
        tuple(names),
        tuple(at_hand) if interval else (),
    )


def paired_interval(
    pairs: list[tuple[Samples | None, Samples | None]],
) -> tuple[float, float] | None:
    """Compute the 95 % interval of the mean difference of samples, by the bootstrap over clips.

    Seeds of which one row's samples are not at hand are left out. None where none is left, where a
    run has other samples than the rest, or where there are fewer than two clips.

    Args:
        pairs: for each seed the samples of one row and of the other.
    """
    at_hand = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
    keys = sorted(at_hand[0][0]) if at_hand else []
    tables = []
    for ours, theirs in at_hand:
        if sorted(ours) != keys or sorted(theirs) != keys:
            return None
        tables.append([ours[key] - theirs[key] for key in keys])
    clips = [key[0] for key in keys]
    if len(set(clips)) < 2:
        return None
    found = percentile_interval(clip_means(clips, np.mean(tables, axis=0)))
    return found["low"], found["high"]
