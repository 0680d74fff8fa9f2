"""The table of samples that `evaluate` leaves, data/evaluate/D/expressions.csv, as columns."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MEASURED = ("iou", "intersection", "union", "j", "f", "j_and_f")
NAMED_BY = ("video", "expression_set", "expression_id")
"""What identifies an expression, in this table and in data/short_text/D.csv."""


@dataclass(frozen=True)
class SampleTable:
    """N samples; each array is [N]."""

    clips: np.ndarray
    sets: np.ndarray
    """Expression sets (`davis`); else empty text."""
    splits: np.ndarray
    """Empty text where they were not asked for."""
    measured: dict[str, np.ndarray]
    """Column -> float64, NaN where the cell is empty: the protocol has no such score."""


def read_samples(path: Path, short_texts: Path | None = None) -> SampleTable | None:
    """Read the table; None where there is none.

    Args:
        path: of expressions.csv.
        short_texts: data/short_text/D.csv, which has the splits; None: they are not needed.
    """
    if not path.is_file():
        return None
    # Cell by cell into columns: 100,000 rows as mappings would be some 100 MB.
    named: list[tuple[str, ...]] = []
    cells: dict[str, list[float]] = {name: [] for name in MEASURED}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            named.append(tuple(row.get(name) or "" for name in NAMED_BY))
            for name, column in cells.items():
                column.append(float(row.get(name) or "nan"))
    splits = _splits(short_texts) if short_texts else {}
    return SampleTable(
        clips=_texts([clip for clip, *_ in named]),
        sets=_texts([one for _, one, _ in named]),
        splits=_texts([splits.get(one, "") for one in named]),
        measured={name: np.array(column, np.float64) for name, column in cells.items()},
    )


def _splits(path: Path) -> dict[tuple[str, ...], str]:
    """Expression -> its split, of those that may be scored."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            tuple(row.get(name) or "" for name in NAMED_BY): row["split"]
            for row in csv.DictReader(file)
            if row["split"] != "train"
        }


def _texts(values: Sequence[str]) -> np.ndarray:
    return np.array(values, np.str_)
