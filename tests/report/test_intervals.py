"""Intervals that the report adds: the bootstrap over clips of evaluation, of every score that its
table of samples gives, and of no other.
"""

from __future__ import annotations

import csv
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from report.made_by_hand import Page, make_root, page_of

from losh.evaluate.metrics import bootstrap
from losh.evaluate.metrics.bootstrap import DRAWS, SEED, clip_interval, percentile_interval
from losh.evaluate.metrics.j_and_f import mean_scores
from losh.evaluate.metrics.rounding import rounded
from losh.evaluate.outputs.table import ExpressionRow, write_rows
from losh.evaluate.protocols.davis import ObjectScore, davis_results
from losh.inference.overlap import a2d_scores, iou
from losh.report import intervals
from losh.report.intervals import sample_intervals
from losh.report.sample_table import SampleTable, read_samples
from losh.report.scores import numbers

TABLE = "expressions.csv"
BLANK = ExpressionRow("v", "", "0", "0", None, 1, "a", "a", 0.5)


def areas(count: int, clips: int) -> list[ExpressionRow]:
    """Samples of one frame each, several of a clip."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(count):
        union = int(rng.integers(1, 500))
        inside = int(rng.integers(0, union + 1))
        row = replace(BLANK, video=f"v{rng.integers(clips)}", expression_id=str(i))
        rows.append(replace(row, iou=inside / union, intersection=inside, union=union))
    return rows


def a2d(rows: list[ExpressionRow]) -> dict[str, float]:
    """The scores as evaluation writes them."""
    inside, union = (
        np.array([getattr(row, name) for row in rows]) for name in ("intersection", "union")
    )
    return rounded(a2d_scores(iou(inside, union), inside, union))


def overlaps(count: int, clips: int, name: str = "", text: str = "") -> list[ExpressionRow]:
    """Whole videos with J and F."""
    rng = np.random.default_rng(len(name))
    rows = []
    for i in range(count):
        j, f = rng.random(2)
        row = replace(BLANK, video=f"v{i % clips}", expression_id=f"{text}{i}", expression_set=name)
        rows.append(replace(row, j=j, f=f, j_and_f=(j + f) / 2))
    return rows


def table_of(folder: Path, rows: list[ExpressionRow], texts: Path | None = None) -> SampleTable:
    write_rows(folder / TABLE, rows)
    found = read_samples(folder / TABLE, texts)
    assert found is not None
    return found


def means(rows: list[ExpressionRow], values: list[float]) -> np.ndarray:
    """Of each drawn test set, written out anew: all clips of all draws at once."""
    names, place = np.unique([row.video for row in rows], return_inverse=True)
    sums, counts = (np.bincount(place, weights) for weights in (values, None))
    drawn = np.random.default_rng(SEED).integers(len(names), size=(DRAWS, len(names)))
    return sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)


def bounds(drawn: np.ndarray) -> tuple[float, float]:
    found = rounded(percentile_interval(drawn))
    return found["low"], found["high"]


@pytest.mark.parametrize("at_once", [None, 37])
def test_they_are_the_bootstrap_of_evaluation(at_once, tmp_path, monkeypatch):
    """Draw by draw the same clips, in whatever steps."""
    if at_once:
        monkeypatch.setattr(bootstrap, "DRAWN_AT_ONCE", at_once)
    rows = areas(60, 12)
    found = sample_intervals(table_of(tmp_path, rows), a2d(rows))
    written = rounded(clip_interval([row.video for row in rows], [row.iou for row in rows]))
    assert found["mean_iou"] == tuple(written["mean_iou_interval"][end] for end in ("low", "high"))
    inside, union = (
        means(rows, [getattr(row, name) for row in rows]) for name in ("intersection", "union")
    )
    assert found["overall_iou"] == bounds(inside / union)
    for percent in (50, 60, 70, 80, 90):
        above = [float(row.iou > percent / 100) for row in rows]
        assert found[f"precision_at_{percent}"] == bounds(means(rows, above))
    assert set(found) == set(a2d(rows))


def test_a_score_that_the_table_does_not_give_has_none(tmp_path):
    rows = areas(60, 12)
    scores = a2d(rows)
    other = scores | {"precision_at_70": scores["precision_at_70"] + 0.0002, "j": 0.5, "new": 0.5}
    found = sample_intervals(table_of(tmp_path, rows), other | {"map_best_query": 0.5})
    assert set(found) == set(scores) - {"precision_at_70"}


def test_one_clip_tells_nothing_of_others(tmp_path):
    rows = areas(5, 1)
    assert sample_intervals(table_of(tmp_path, rows), a2d(rows)) == {}


def test_precision_counts_what_is_just_above_a_threshold(tmp_path):
    """In the table such an IoU reads 0.500000."""
    rows = [replace(row, iou=0.5, intersection=1, union=2) for row in areas(4, 4)]
    rows = [replace(row, video=f"v{i}") for i, row in enumerate(rows)]
    rows[0] = replace(rows[0], iou=5_000_000 / 9_999_999, intersection=5_000_000, union=9_999_999)
    scores = a2d(rows)
    assert scores["precision_at_50"] == 0.25
    assert "precision_at_50" in sample_intervals(table_of(tmp_path, rows), scores)


def test_expressions_without_masks_do_not_count(tmp_path):
    """Of Refer-YouTube-VOS and MeViS most have none here, nor do the clips that hold them."""
    rows = overlaps(12, 4)
    scores = rounded(mean_scores([row.j for row in rows], [row.f for row in rows]))
    hidden = [replace(BLANK, video=f"w{i}") for i in range(9)]
    found = sample_intervals(table_of(tmp_path, [*rows, *hidden]), scores)
    for name in ("j", "f", "j_and_f"):
        assert found[name] == bounds(means(rows, [getattr(row, name) for row in rows]))


def test_davis_has_them_by_expression_and_none_under_the_best_assignment(tmp_path):
    sets = {"annot1": overlaps(15, 4, "annot1"), "annot2_full": overlaps(9, 4, "annot2_full")}
    objects = {
        name: [ObjectScore(row.video, "1", row.j, row.f) for row in rows]
        for name, rows in sets.items()
    }
    # As if no assignment were better: equal numbers, which the table still does not give.
    flat = numbers(rounded(davis_results(objects, objects)))
    table = table_of(tmp_path, [row for rows in sets.values() for row in rows])
    found = sample_intervals(table, flat)
    assert len(flat) == 18 and set(found) == {
        key for key in flat if key.startswith("per_expression")
    }
    drawn = [means(rows, [row.j for row in rows]) for rows in sets.values()]
    assert found["per_expression.annot1.j"] == bounds(drawn[0])
    # The mean of the sets' means, of the same clips: not the mean over all expressions.
    assert found["per_expression.mean.j"] == bounds((drawn[0] + drawn[1]) / 2)


def test_pictures_have_them_split_by_split(tmp_path):
    """The splits are those of the short texts; the table of samples does not name them."""
    rows = areas(60, 12)
    splits = {"val": rows[:40], "testA": rows[40:]}
    texts = tmp_path / "texts.csv"
    with texts.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "video", "expression_id", "expression_set"])
        writer.writerow(["train", rows[0].video, "99", ""])
        writer.writerows(
            [name, row.video, row.expression_id, ""] for name in splits for row in splits[name]
        )
    flat = {f"{name}.{key}": v for name, own in splits.items() for key, v in a2d(own).items()}
    found = sample_intervals(table_of(tmp_path, rows, texts), flat)
    assert set(found) == set(flat)
    for name, own in splits.items():
        assert found[f"{name}.mean_iou"] == bounds(means(own, [row.iou for row in own]))
    # Without the texts nobody knows; the whole is no split.
    assert sample_intervals(table_of(tmp_path, rows, tmp_path / "none.csv"), flat) == {}


def test_a_large_table_takes_little_memory(monkeypatch):
    count = 100_000
    monkeypatch.setattr(intervals, "drawn_sums", partial(bootstrap.drawn_sums, draws=100))
    values = np.linspace(0, 1, count)
    empty = np.array([""] * count)
    lacking = dict.fromkeys(("iou", "intersection", "union", "f", "j_and_f"), values * np.nan)
    table = SampleTable(np.arange(count).astype(str), empty, empty, lacking | {"j": values})
    tracemalloc.start()
    assert "j" in sample_intervals(table, {"j": 0.5})
    assert tracemalloc.get_traced_memory()[1] < 150e6  # at once the draws would take 240 MB
    tracemalloc.stop()


def test_the_page_shows_them_and_says_why_ap_has_none(tmp_path):
    rows = areas(60, 12)
    scores = a2d(rows) | {"map_all_queries": 0.3, "samples": 60, "skipped": 0}
    params = make_root(tmp_path, {"jhmdb_sentences": scores})
    assert "interval" not in " ".join(Page(page_of(tmp_path, params)).text)  # no table
    write_rows(tmp_path / "data/evaluate/jhmdb_sentences" / TABLE, rows)
    words = Page(page_of(tmp_path, params)).text
    low, high = sample_intervals(table_of(tmp_path, rows), scores)["precision_at_80"]
    place = words.index("precision at IoU 0.8")
    assert words[place + 2] == f"({low:.4f}, {high:.4f})"
    assert words[words.index("mAP, all queries") + 2] == "Intervals: bootstrap over clips.\n" + (
        "AP has none: it ranks all samples together and is no mean over clips."
    )
