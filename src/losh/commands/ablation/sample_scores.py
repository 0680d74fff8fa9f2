"""The scores of an experiment's single samples, from DVC's cache."""

from __future__ import annotations

import csv
import io
from functools import cache
from pathlib import Path

from losh.commands.ablation.results import Result
from losh.commands.ablation.statistics import Samples
from losh.commands.experiments import cached_output
from losh.moving_shapes.single_frame import GROUPS

Rows = list[dict[str, str]]
COLUMNS = {"mean_iou": "iou", "j_and_f": "j_and_f"}
"""Score -> column of data/evaluate/D/expressions.csv whose mean it is."""


class SampleScores:
    """Gives the samples of a result and a score, each table read once."""

    def __init__(self) -> None:
        self._rows = cache(self._read)
        self._samples = cache(self._of)

    def __call__(self, one: Result, score: str) -> Samples | None:
        """None where the score is no mean over samples, or the table is not in the cache.

        Args:
            score: `mean_iou`, `j_and_f`, or `kinds.KIND.mean_iou`.
        """
        return self._samples(one.rev, one.dataset, score) if one.rev else None

    def _of(self, rev: str, dataset: str, score: str) -> Samples | None:
        kind, name = "", score
        if score.startswith("kinds."):
            kind, _, name = score.removeprefix("kinds.").partition(".")
        column = COLUMNS.get(name)
        rows = self._rows(rev, dataset) if column else None
        return None if rows is None else samples_of(rows, str(column), kind)

    def _read(self, rev: str, dataset: str) -> Rows | None:
        data = cached_output(Path(f"data/evaluate/{dataset}/expressions.csv"), rev)
        return None if data is None else rows_of(data.decode("utf-8"))


def rows_of(table: str) -> Rows:
    """Rows of data/evaluate/D/expressions.csv, by its header."""
    return list(csv.DictReader(io.StringIO(table)))


def samples_of(rows: Rows, column: str, kind: str = "") -> Samples:
    """(clip, set, expression, frame) -> score, of the rows that have one.

    Args:
        kind: of expressions, or a group of kinds; "": all.
    """
    kinds = GROUPS.get(kind, (kind,))
    return {
        (row["video"], row["expression_set"], row["expression_id"], row["frame"]): float(
            row[column]
        )
        for row in rows
        if row[column] and (not kind or row["kind"] in kinds)
    }
