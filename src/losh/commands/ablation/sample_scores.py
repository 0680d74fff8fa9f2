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

COLUMNS = {"mean_iou": "iou", "j_and_f": "j_and_f"}
"""Score -> column of data/evaluate/D/expressions.csv whose mean it is."""


class SampleScores:
    """Gives the samples of a result and a score, each table read once."""

    def __init__(self) -> None:
        self._read = cache(self._table)

    def __call__(self, one: Result, score: str) -> Samples | None:
        """None where the score is no mean over samples, or the table is not in the cache.

        Args:
            score: `mean_iou`, `j_and_f`, or `kinds.KIND.mean_iou`.
        """
        *of, name = score.removeprefix("kinds.").split(".")
        column, kind = COLUMNS.get(name), of[0] if score.startswith("kinds.") else ""
        if column is None or (of and not kind) or not one.rev:
            return None
        table = self._read(one.rev, one.dataset)
        return None if table is None else samples_of(table, column, kind)

    def _table(self, rev: str, dataset: str) -> str | None:
        data = cached_output(Path(f"data/evaluate/{dataset}/expressions.csv"), rev)
        return None if data is None else data.decode("utf-8")


def samples_of(table: str, column: str, kind: str = "") -> Samples:
    """(clip, set, expression, frame) -> score, of the rows that have one.

    Args:
        kind: of expressions, or a group of kinds; "": all.
    """
    kinds = GROUPS.get(kind, (kind,))
    return {
        (row["video"], row["expression_set"], row["expression_id"], row["frame"]): float(
            row[column]
        )
        for row in csv.DictReader(io.StringIO(table))
        if row[column] and (not kind or row["kind"] in kinds)
    }
