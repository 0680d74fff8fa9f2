"""The table of expressions and the data of the plots."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from losh.evaluate.outputs.table import ExpressionRow, worst_first, write_plots, write_rows


def row(
    video: str, frame: int | None, iou: float | None = None, j_and_f: float | None = None
) -> ExpressionRow:
    return ExpressionRow(
        video,
        "",
        "1",
        "3",
        frame,
        1,
        'the "red" one, left\nof it',
        "the red one",
        0.25,
        iou=iou,
        intersection=7,
        union=9,
        j_and_f=j_and_f,
    )


def test_rows_are_written_in_one_order_and_read_back(tmp_path: Path) -> None:
    rows = [
        row("b", 3, iou=1 / 3),
        row("a", 10, iou=0.5),
        row("a", 9, iou=np.float64(1.0)),
        row("c", None, j_and_f=0.75),
    ]
    write_rows(tmp_path / "one.csv", rows)
    write_rows(tmp_path / "two.csv", rows[::-1])
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    with (tmp_path / "one.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [(line["video"], line["frame"], line["iou"]) for line in read] == [
        ("a", "9", "1.000000"),
        ("a", "10", "0.500000"),
        ("b", "3", "0.333333"),
        ("c", "", ""),
    ]
    assert read[0]["text"] == rows[0].text
    assert (read[0]["intersection"], read[3]["j_and_f"], read[3]["j"]) == ("7", "0.750000", "")
    assert b"\r" not in (tmp_path / "one.csv").read_bytes()


def test_the_worst_cases_come_first() -> None:
    rows = [
        row("a", 1, iou=0.9),
        row("c", 1, iou=0.2),
        row("b", 1, iou=0.2),
        row("d", None, iou=0.9, j_and_f=0.1),
    ]
    assert [line.video for line in worst_first(rows)] == ["d", "b", "c", "a"]
    with pytest.raises(ValueError, match="neither"):
        _ = row("a", 1).quality


def test_the_plots_count_what_is_there(tmp_path: Path) -> None:
    write_plots(tmp_path, [0.0, 0.5, 0.75, 3 / 20, 1.0, 1.0])
    precision = list(csv.reader((tmp_path / "precision.csv").open()))
    assert precision[0] == ["threshold", "precision"]
    # Strictly greater: 0.5 and 0.75 are not over their own thresholds.
    assert [line[0] for line in precision[1:]] == [
        "0.50",
        "0.55",
        "0.60",
        "0.65",
        "0.70",
        "0.75",
        "0.80",
        "0.85",
        "0.90",
        "0.95",
    ]
    assert [float(line[1]) for line in precision[1:]] == pytest.approx(
        [0.5] * 5 + [2 / 6] * 5, abs=1e-6
    )
    histogram = list(csv.reader((tmp_path / "iou_histogram.csv").open()))
    assert histogram[0] == ["iou", "count"]
    assert {iou: int(count) for iou, count in histogram[1:] if count != "0"} == {
        "0.025": 1,
        "0.175": 1,
        "0.525": 1,
        "0.775": 1,
        "0.975": 2,
    }
    assert len(histogram) == 21
    with pytest.raises(ValueError, match="no samples"):
        write_plots(tmp_path, [])
