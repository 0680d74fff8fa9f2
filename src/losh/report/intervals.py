"""95 % intervals of the scores for which evaluation wrote none, from its table of samples.

The bootstrap over clips of `losh.evaluate.metrics.bootstrap`, with its seed and its draws: the mean
IoU's interval that evaluation writes comes out here too. A score has one only where the table gives
the very number that was written: not average precision, which ranks all samples together, nor
DAVIS's scores under the best assignment, nor IoUs over frames that the table does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from losh.evaluate.metrics.bootstrap import drawn_sums, percentile_interval
from losh.evaluate.metrics.rounding import DIGITS, rounded
from losh.inference.overlap import iou
from losh.report.sample_table import SampleTable

PRECISION = "precision_at_"
CELL = 1e-6
"""By so much a score may be off for the digits of the table's cells."""


@dataclass(frozen=True)
class Statistic:
    """A score: of each part of the samples a sum over another sum, and the mean of these."""

    used: np.ndarray
    """bool [N]: the samples that have the score."""
    above: np.ndarray
    """float64 [parts, N], 0 outside a part."""
    below: np.ndarray

    @property
    def value(self) -> float:
        """Of the samples as they are; NaN where a part has nothing to divide by."""
        return float(_means(self.above.sum(axis=1), self.below.sum(axis=1)))


def sample_intervals(
    table: SampleTable, scores: dict[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the interval of each score that the table gives.

    Args:
        table: of samples.
        scores: dotted key -> value, as in metrics/eval/D.json.
    """
    # Scores of the same samples share the draws, which are most of the work.
    groups: dict[bytes, dict[str, Statistic]] = {}
    for key, value in scores.items():
        found = statistic(table, key)
        # Not >: NaN is no score either.
        if found is not None and abs(found.value - value) <= 0.5 * 10**-DIGITS + CELL:
            groups.setdefault(found.used.tobytes(), {})[key] = found
    return {key: bounds for group in groups.values() for key, bounds in _bounds(table, group)}


def statistic(table: SampleTable, key: str) -> Statistic | None:
    """Return how a score comes from the table; None where it does not."""
    *sections, name = key.split(".")
    fraction, parts = _fraction(table, name), _parts(table, sections)
    if fraction is None or not parts:
        return None
    above, below = fraction
    there = ~np.isnan(above)
    return Statistic(
        used=there & np.any(parts, axis=0),
        above=np.stack([np.where(part & there, above, 0.0) for part in parts]),
        below=np.stack([np.where(part & there, below, 0.0) for part in parts]),
    )


def _fraction(table: SampleTable, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what of each sample is summed above and below the line, [N] each; NaN: no score."""
    measured = table.measured
    ones = np.ones(len(table.clips))
    if name == "overall_iou":
        return measured["intersection"], measured["union"]
    if name in ("j", "f", "j_and_f"):
        return measured[name], ones
    # From the areas: cells of six digits do not tell what is just above a threshold.
    there = ~np.isnan(measured["union"])
    ious = np.where(there, iou(measured["intersection"], measured["union"]), np.nan)
    if name == "mean_iou":
        return ious, ones
    if name.startswith(PRECISION):
        threshold = int(name.removeprefix(PRECISION)) / 100
        return np.where(there, ious > threshold, np.nan), ones
    return None


def _parts(table: SampleTable, sections: list[str]) -> list[np.ndarray]:
    """Return the samples of a score by the sections above it in the JSON; none: not known."""
    match sections:
        case []:
            return [np.ones(len(table.clips), bool)]
        case ["per_expression", "mean"]:  # over the sets, each a mean itself
            return [table.sets == name for name in np.unique(table.sets)]
        case ["per_expression", name]:
            return [table.sets == name]
        case [split] if split in table.splits:
            return [table.splits == split]
    return []


def _bounds(
    table: SampleTable, group: dict[str, Statistic]
) -> Iterable[tuple[str, tuple[float, float]]]:
    """Bootstrap scores of the same samples; nothing with fewer than two clips, as evaluation."""
    used = next(iter(group.values())).used
    names, place = np.unique(table.clips[used], return_inverse=True)
    if len(names) < 2:
        return
    columns = [row[used] for one in group.values() for row in (*one.above, *one.below)]
    sums = np.stack([np.bincount(place, column, len(names)) for column in columns], axis=1)
    drawn = iter(drawn_sums(sums).T)
    for key, one in group.items():
        above, below = (np.stack([next(drawn) for _ in part]) for part in (one.above, one.below))
        means = _means(above, below)
        if not np.isnan(means).any():  # a set whose clips no draw may miss
            bounds = rounded(percentile_interval(means))
            yield key, (bounds["low"], bounds["high"])


def _means(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """[parts, ...] twice -> [...]."""
    return np.mean(np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan), axis=0)
