"""Curves: epochs count from 1 and names are those of metrics/train.json, everywhere."""

import csv
from pathlib import Path

from losh.train.curves import curve_panels, draw_curves, named, write_curves

HISTORY = [
    {"train/total": 30.0, "train/dice": 0.5, "train/dice_0": 0.6, "rate/main": 1e-4},
    {"train/total": 20.0, "train/dice": 0.4, "train/dice_0": 0.5, "val/mean_iou": 0.3},
]


def points(path: Path) -> list[tuple[int, float]]:
    with path.open(newline="") as file:
        _, *rows = csv.reader(file, delimiter="\t")
    return [(int(step), float(value)) for step, value in rows]


def test_epochs_count_from_one_under_the_names_of_the_summary(tmp_path):
    write_curves(HISTORY, tmp_path)
    files = {path.relative_to(tmp_path / "plots/metrics") for path in tmp_path.rglob("*.tsv")}
    assert {str(path) for path in files} == {
        "loss/total.tsv",
        "loss/dice.tsv",
        "loss/dice_0.tsv",
        "rate/main.tsv",
        "validation/mean_iou.tsv",
    }
    assert points(tmp_path / "plots/metrics/loss/total.tsv") == [(1, 30.0), (2, 20.0)]
    assert points(tmp_path / "plots/metrics/validation/mean_iou.tsv") == [(2, 0.3)]


def test_each_loss_term_has_axes_of_its_own(tmp_path):
    panels = curve_panels([named(row) for row in HISTORY])
    assert panels == {
        "loss.total": ["loss/total"],
        "loss.dice": ["loss/dice"],
        "validation": ["validation/mean_iou"],
        "rate": ["rate/main"],
    }
    draw_curves(HISTORY, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000
