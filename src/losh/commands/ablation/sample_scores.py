"""The scores of an experiment's single samples, from DVC's cache."""

from __future__ import annotations

import csv
import io
from functools import cache
from pathlib import Path

from losh.commands.ablation.results import Result
from losh.commands.ablation.statistics import Samples
from losh.commands.experiments import cached_output

COLUMNS = {"mean_iou": "iou", "j_and_f": "j_and_f"}
"""Score -> column of data/evaluate/D/expressions.csv whose mean it is."""


class SampleScores:
    """Gives the samples of a result, each read once."""

    def __init__(self, score: str) -> None:
        self.column = COLUMNS.get(score)
        self._read = cache(self._table)

    def __call__(self, one: Result) -> Samples | None:
        """None where the score is no mean over samples, or the table is not in the cache."""
        return self._read(one.rev, one.dataset) if self.column and one.rev else None

    def _table(self, rev: str, dataset: str) -> Samples | None:
        data = cached_output(Path(f"data/evaluate/{dataset}/expressions.csv"), rev)
        if data is None:
            return None
        return samples_of(data.decode("utf-8"), str(self.column))


def samples_of(table: str, column: str) -> Samples:
    """(clip, set, expression, frame) -> score, of the rows that have one."""
    return {
        (row["video"], row["expression_set"], row["expression_id"], row["frame"]): float(
            row[column]
        )
        for row in csv.DictReader(io.StringIO(table))
        if row[column]
    }
