"""The scores of a dataset as rows of tables, each beside its interval and its earlier value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from losh.report.names import KINDS, SCORES, heading, is_average_precision

INTERVAL = "_interval"
"""Ending of the key beside a score that holds its 95 % interval."""
Intervals = dict[str, tuple[float, float]]
"""Dotted key of a score -> low, high."""
APART = ("samples", "skipped", "trivial", "kinds")
"""Keys of metrics/eval/D.json that are no scores."""


@dataclass(frozen=True)
class ScoreRow:
    """One score of this run."""

    key: str
    """Dotted, as in metrics/eval/D.json."""
    name: str
    """How people call it."""
    value: float
    interval: tuple[float, float] | None
    earlier: float | None
    trivial: list[float | None]
    """Of each trivial predictor, in the order of `trivial_names`."""
    samples: int | None = None
    """Where the row is of a part of the samples."""

    @property
    def difference(self) -> float | None:
        """From the earlier value to this one."""
        return None if self.earlier is None else self.value - self.earlier

    @property
    def beyond(self) -> bool:
        """Whether the earlier value lies outside this run's interval."""
        if self.earlier is None or self.interval is None:
            return False
        low, high = self.interval
        return not low <= self.earlier <= high

    @property
    def average_precision(self) -> bool:
        """Whether it ranks all samples together, and so is no mean over clips."""
        return is_average_precision(self.key)

    @property
    def indented(self) -> bool:
        """Whether the row is of a part of the row above it."""
        return self.name.startswith(" ")


def score_rows(
    scores: dict[str, Any], earlier: dict[str, Any], intervals: Intervals | None = None
) -> list[ScoreRow]:
    """All scores but those of kinds, the usual ones first.

    Args:
        scores: of this run, metrics/eval/D.json.
        earlier: the same of another run.
        intervals: of scores that have none in `scores`.
    """
    values, before = numbers(scores), numbers(earlier)
    order = {key: i for i, key in enumerate(SCORES)}
    trivial = scores.get("trivial", {})
    return [
        ScoreRow(
            key,
            heading(key),
            values[key],
            _interval(scores, key) or (intervals or {}).get(key),
            before.get(key),
            [numbers(one).get(key) for one in trivial.values()],
        )
        for key in sorted(values, key=lambda key: (order.get(key, len(order)), key))
    ]


def kind_rows(scores: dict[str, Any], earlier: dict[str, Any]) -> list[ScoreRow]:
    """Return the mean IoU of each kind of sample; of kinds without a sample there is no row."""
    kinds, before = scores.get("kinds", {}), earlier.get("kinds", {})
    names = kind_predictors(scores)
    return [
        ScoreRow(
            f"kinds.{kind}.mean_iou",
            KINDS.get(kind, kind.replace("_", " ")),
            kinds[kind]["mean_iou"],
            _interval(kinds[kind], "mean_iou"),
            before.get(kind, {}).get("mean_iou"),
            [kinds[kind].get("trivial", {}).get(name) for name in names],
            kinds[kind]["samples"],
        )
        for kind in sorted(kinds, key=lambda kind: (*KINDS, kind).index(kind))
    ]


def without_interval(scores: dict[str, Any]) -> dict[str, float]:
    """Scores by dotted key, of those beside which evaluation wrote no interval."""
    return {key: value for key, value in numbers(scores).items() if not _interval(scores, key)}


def kind_predictors(scores: dict[str, Any]) -> list[str]:
    """Return the trivial predictors that stand beside the kinds."""
    return list(
        dict.fromkeys(n for one in scores.get("kinds", {}).values() for n in one["trivial"])
    )


def numbers(values: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Scores by dotted key, nested mappings as one."""
    found: dict[str, float] = {}
    for key, value in values.items():
        if key.endswith(INTERVAL) or (not prefix and key in APART):
            continue
        if isinstance(value, dict):
            found |= numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float):
            found[prefix + key] = value
    return found


def _interval(values: dict[str, Any], key: str) -> tuple[float, float] | None:
    """Of a score by its dotted key; it lies beside the score."""
    *sections, name = key.split(".")
    for section in sections:
        values = values[section]
    found = values.get(name + INTERVAL)
    return (found["low"], found["high"]) if found else None
