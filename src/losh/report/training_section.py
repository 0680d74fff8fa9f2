"""What the page says of the training: its summary and its curves."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from losh.report.charts import line_chart
from losh.report.scores import numbers
from losh.runtime.files import read_json
from losh.train.curves import curve_panels


@dataclass(frozen=True)
class TrainingSection:
    """What a training left; both empty where there was none."""

    summary: dict[str, float]
    """metrics/train.json by dotted key."""
    charts: list[Markup]


def training_section(metrics: Path) -> TrainingSection:
    """Read the folder metrics/: a training may be missing, since a checkpoint can be given."""
    path = metrics / "train.json"
    summary = numbers(read_json(path, "dvc repro train")) if path.is_file() else {}
    folder = metrics / "train" / "plots" / "metrics"
    curves = {
        str(file.relative_to(folder).with_suffix("")): _curve(file)
        for file in sorted(folder.rglob("*.tsv"))
    }
    panels = curve_panels([{name: 0.0 for name, points in curves.items() if points}])
    charts = [
        line_chart({name.split("/", 1)[1]: curves[name] for name in names}, title, "epoch")
        for title, names in panels.items()
    ]
    return TrainingSection(summary, charts)


def _curve(path: Path) -> list[tuple[float, float]]:
    """DVCLive's file of one value: a header, then step and value."""
    with path.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file, delimiter="\t")
    return [(float(row[0]), float(row[-1])) for row in rows]
