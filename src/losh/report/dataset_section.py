"""What the page says of one dataset, read from what its stages wrote."""

from __future__ import annotations

import base64
import csv
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup

from losh.report.changed import changed_params
from losh.report.charts import Points, bar_chart, interval_chart, line_chart
from losh.report.earlier import Chosen, Earlier, chosen_scores, earlier_scores
from losh.report.intervals import sample_intervals
from losh.report.sample_table import read_samples
from losh.report.scores import (
    Intervals,
    ScoreRow,
    kind_predictors,
    kind_rows,
    score_rows,
    without_interval,
)
from losh.report.short_text_examples import StepExamples, read_examples
from losh.runtime.files import read_json

MEDIA_TYPE = "image/jpeg"


@dataclass(frozen=True)
class Places:
    """Where the workflow runs, and where its stages write."""

    root: Path = Path()
    data: Path = Path("data")
    metrics: Path = Path("metrics")
    """Both relative to `root`."""

    def scores_of(self, name: str) -> Path:
        """metrics/eval/D.json, relative to `root`."""
        return self.metrics / "eval" / f"{name}.json"


@dataclass(frozen=True)
class Case:
    """One strip of pictures."""

    about: dict[str, Any]
    """Its entry in cases.json."""
    tiles: list[tuple[dict[str, Any], str]]
    """(entry of a picture, its bytes as a data URI)."""


@dataclass(frozen=True)
class DatasetSection:
    """One dataset's part of the page; what is missing is empty."""

    name: str
    samples: int
    skipped: int
    rows: list[ScoreRow]
    predictors: list[str]
    """Trivial predictors beside `rows`."""
    kinds: list[ScoreRow]
    kind_predictors: list[str]
    charts: list[Markup]
    kinds_chart: Markup
    cases: dict[str, list[Case]]
    """best, median, worst -> their strips."""
    steps: list[StepExamples]
    earlier: Earlier | None
    changed: list[tuple[str, str, str]]
    """Parameters that differ from those of `earlier`: key, before, now."""


def dataset_section(
    name: str, places: Places, params: dict[str, Any], chosen: Chosen | None = None
) -> DatasetSection:
    """Read one dataset that was evaluated.

    Args:
        name: of the dataset.
        places: of the artefacts.
        params: params.yaml as it is now.
        chosen: what the run is compared with; None: the newest earlier scores.
    """
    path = places.scores_of(name)
    scores = read_json(places.root / path, f"dvc repro evaluate@{name}")
    if chosen:
        earlier = chosen_scores(path, chosen, places.root)
    else:
        earlier = earlier_scores(path, scores, places.root)
    before, label = (earlier.scores, earlier.label) if earlier else ({}, "")
    kinds, beside = kind_rows(scores, before), kind_predictors(scores)
    return DatasetSection(
        name=name,
        samples=scores["samples"],
        skipped=scores["skipped"],
        rows=score_rows(scores, before, _intervals(name, places, scores)),
        predictors=list(scores.get("trivial", {})),
        kinds=kinds,
        kind_predictors=beside,
        charts=_charts(places.root / places.metrics / "plots" / name, earlier),
        kinds_chart=(
            interval_chart(kinds, beside, "Mean IoU, 95 % intervals", label) if kinds else Markup()
        ),
        cases=read_cases(places.root / places.data / "evaluate" / name / "cases"),
        steps=read_examples(places.root / places.data / "short_text" / f"{name}.csv"),
        earlier=earlier,
        changed=changed_params(earlier.params, params) if earlier and earlier.params else [],
    )


def _intervals(name: str, places: Places, scores: dict[str, Any]) -> Intervals:
    """Of the scores for which evaluation wrote none, as far as its table of samples gives them."""
    data, wanted = places.root / places.data, without_interval(scores)
    by_split = any("." in key for key in wanted)  # splits, or expression sets, which need no text
    table = read_samples(
        data / "evaluate" / name / "expressions.csv",
        data / "short_text" / f"{name}.csv" if by_split else None,
    )
    return sample_intervals(table, wanted) if table else {}


def read_cases(folder: Path) -> dict[str, list[Case]]:
    """Read the strips that `evaluate` drew, by group.

    Empty where it drew none (evaluate.pictures 0).
    """
    if not (folder / "cases.json").is_file():
        return {}
    cases = [
        Case(about, [(tile, _data_uri(folder / tile["file"])) for tile in about["tiles"]])
        for about in read_json(folder / "cases.json", f"dvc repro evaluate@{folder.parent.name}")
    ]
    return {name: list(own) for name, own in groupby(cases, key=lambda case: case.about["group"])}


def _charts(folder: Path, earlier: Earlier | None) -> list[Markup]:
    precision = _points(folder / "precision.csv")
    counts = _points(folder / "iou_histogram.csv")
    charts = []
    if precision:
        lines: dict[str, Points] = {"this run": precision}
        before, label = (earlier.scores, earlier.label) if earlier else ({}, "")
        known = [(t, before.get(f"precision_at_{round(100 * t)}")) for t, _ in precision]
        if old := [(t, value) for t, value in known if value is not None]:
            lines[label] = old
        title = "Precision at thresholds"
        charts.append(line_chart(lines, title, "IoU threshold", (0, 1), grey=label))
    if counts:
        width = counts[1][0] - counts[0][0] if len(counts) > 1 else 1
        charts.append(bar_chart(counts, width, "Samples by IoU", "IoU"))
    return charts


def _points(path: Path) -> list[tuple[float, float]]:
    """Read a CSV of two columns of numbers under a header; empty where there is none."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [(float(x), float(y)) for x, y in rows]


def _data_uri(path: Path) -> str:
    return f"data:{MEDIA_TYPE};base64,{base64.b64encode(path.read_bytes()).decode()}"
