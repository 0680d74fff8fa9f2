"""The table of scores by expression, to find the worst cases in, and the data of `dvc plots`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from losh.inference.overlap import precision_at
from losh.runtime.files import atomic_write

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
BINS = 20  # of the IoU histogram


@dataclass(frozen=True)
class ExpressionRow:
    """One sample: an expression in one annotated frame (A2D, JHMDB) or over a video.

    What a protocol lacks is None.
    """

    video: str
    expression_set: str
    expression_id: str
    instance: str
    frame: int | None
    """0-based index of the frame; None for a whole video."""
    frames: int
    """How many frames were scored."""
    text: str
    short_text: str
    score: float
    """The reference score of the chosen query."""
    iou: float | None = None
    intersection: int | None = None
    union: int | None = None
    j: float | None = None
    f: float | None = None
    j_and_f: float | None = None
    kind: str = ""
    """Of a generated dataset's sample (`losh.moving_shapes.single_frame.kind_of_sample`)."""

    @property
    def scored(self) -> bool:
        """Whether there was ground truth to score against."""
        return self.iou is not None or self.j is not None

    @property
    def overlap(self) -> float:
        """IoU, or J where the protocol has that; 0 where nothing was scored."""
        return (self.j or 0.0) if self.iou is None else self.iou

    @property
    def quality(self) -> float:
        """What cases are ranked by: J&F where the protocol has it, else IoU."""
        value = self.iou if self.j_and_f is None else self.j_and_f
        if value is None:
            raise ValueError(
                f"{self.video}, expression {self.expression_id} has neither IoU nor J&F"
            )
        return value

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What identifies the sample; rows are written in this order."""
        return (
            self.video,
            self.expression_set,
            self.expression_id,
            -1 if self.frame is None else self.frame,
        )


def write_rows(path: Path, rows: Iterable[ExpressionRow]) -> None:
    """Write the table as CSV with a header, ordered by key.

    Equal rows give equal bytes in whatever order they come.
    """
    names = [field.name for field in fields(ExpressionRow)]
    _write_csv(
        path,
        names,
        [
            [_cell(getattr(row, name)) for name in names]
            for row in sorted(rows, key=lambda row: row.key)
        ],
    )


def worst_first(rows: Iterable[ExpressionRow]) -> list[ExpressionRow]:
    """Rows by rising quality; equal ones by key."""
    return sorted(rows, key=lambda row: (row.quality, row.key))


def write_plots(folder: Path, qualities: Sequence[float] | np.ndarray) -> None:
    """Write `precision.csv` and `iou_histogram.csv`, the data of `dvc plots`.

    Columns: `threshold,precision` (0.50 ... 0.95, strictly greater) and `iou,count`.

    Args:
        folder: where to.
        qualities: IoU (or J) of each sample, 0 to 1. `iou` is the middle of a bin of width 0.05
            that holds its lower end; the last one holds 1 too.
    """
    values = np.asarray(qualities, np.float64)
    if not len(values):
        raise ValueError("no samples were scored")
    _write_csv(
        folder / "precision.csv",
        ["threshold", "precision"],
        [[f"{t:.2f}", _cell(precision_at(values, t))] for t in THRESHOLDS],
    )
    edges = np.arange(BINS + 1) / BINS
    counts = np.histogram(values, edges)[0]
    middles = (edges[:-1] + edges[1:]) / 2
    _write_csv(
        folder / "iou_histogram.csv",
        ["iou", "count"],
        [[f"{m:.3f}", str(n)] for m, n in zip(middles, counts, strict=True)],
    )


def write_empty_plots(folder: Path) -> None:
    """Write the same files without rows, where nothing could be scored: DVC expects them."""
    _write_csv(folder / "precision.csv", ["threshold", "precision"], [])
    _write_csv(folder / "iou_histogram.csv", ["iou", "count"], [])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, (float, np.floating)) else str(value)


def _write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
