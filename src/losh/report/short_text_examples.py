"""Short texts by the step of the rule that made them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EACH = 2
"""Examples of a step."""
MOST = 12
"""Steps that are shown, the most frequent ones."""


@dataclass(frozen=True)
class StepExamples:
    """One value of the column `step` (docs/short_text.md), and some that it made."""

    step: str
    count: int
    """Expressions of this step."""
    share: float
    """Of all expressions."""
    pairs: list[tuple[str, str]]
    """(long, short)."""


def read_examples(path: Path) -> list[StepExamples]:
    """Read the steps of data/short_text/D.csv, most frequent first; empty without that file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return examples(csv.DictReader(file))


def examples(rows: Iterable[dict[str, str]]) -> list[StepExamples]:
    """Group rows by step; of each step the first different sentences are its examples."""
    pairs: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    for row in rows:
        step = row["step"]
        counts[step] = counts.get(step, 0) + 1
        shown = pairs.setdefault(step, {})
        if len(shown) < EACH:
            shown.setdefault(row["text"], row["short_text"])
    total = sum(counts.values())
    order = sorted(counts, key=lambda step: (-counts[step], step))[:MOST]
    return [
        StepExamples(step, counts[step], counts[step] / total, list(pairs[step].items()))
        for step in order
    ]
