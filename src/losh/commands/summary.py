"""What `make run` ends with: the scores, and where to look next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from losh.report.names import KINDS
from losh.report.scores import numbers

SHOWN = (
    "mean_iou",
    "overall_iou",
    "precision_at_50",
    "precision_at_90",
    "map_all_queries",
    "map_best_query",
)


def print_summary(metrics: Path = Path("metrics"), data: Path = Path("data")) -> None:
    """Print each dataset's scores beside the trivial predictors', and where the tables are."""
    for path in sorted((metrics / "eval").glob("*.json")):
        scores = json.loads(path.read_text(encoding="utf-8"))
        print(
            f"\n{path.stem}: {scores['samples']} samples"
            + (f", {scores['skipped']} skipped" if scores["skipped"] else "")
        )
        _print_scores(scores)
        if "mean_iou_interval" in scores:
            print(f"\nmean_iou {_with_interval(scores)}: 95 % interval, bootstrap over clips")
        if "kinds" in scores:
            _print_kinds(scores["kinds"])
    print(
        f"\nlook next:\n  {data}/evaluate/*/pictures/   the worst, middling and best cases "
        f"(green: truth, red: prediction)"
        f"\n  {data}/evaluate/*/expressions.csv   the scores of every expression"
        f"\n  {metrics}/train/curves.png   the training's curves (`dvc plots show` makes a page "
        f"of them)"
        "\n  dvc exp run -S train.epochs=20   change a parameter; then `losh compare`"
    )
    page = metrics / "report" / "index.html"
    if page.is_file():
        print(f"\nall of it as a page, to open in a browser: {page}")


def _print_scores(scores: dict[str, Any]) -> None:
    """All scores but those of kinds: the usual ones as a table, others a line each."""
    rows = {"LoSh": scores} | scores.get("trivial", {})
    keys = [key for key in SHOWN if key in scores]
    if keys:
        _print_row("", keys)
        for name, row in rows.items():
            cells = [f"{row[key]:.3f}" if key in row else "-" for key in keys]
            _print_row(name.replace("_", " "), cells)
    for name, value in numbers(scores).items():
        if name not in SHOWN:
            print(f"{name:>48} {value:.3f}")


def _print_row(name: str, cells: list[str]) -> None:
    print(f"{name:>32}" + "".join(f"{cell:>17}" for cell in cells))


def _print_kinds(kinds: dict[str, Any]) -> None:
    trivial = list(next(iter(kinds.values()))["trivial"])
    print("\nmean_iou where ...")
    heads = [name.replace("_", " ") for name in trivial]
    widths = [max(8, len(head) + 2) for head in heads]
    print(
        f"{'':34}{'samples':>8}{'LoSh':>22}"
        + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
    )
    for key, name in KINDS.items():
        if key in kinds:
            row = kinds[key]
            beside = (f"{row['trivial'][one]:.3f}" for one in trivial)
            print(
                f"{name:34}{row['samples']:8d}{_with_interval(row):>22}"
                + "".join(f"{cell:>{width}}" for cell, width in zip(beside, widths, strict=True))
            )


def _with_interval(row: dict[str, Any]) -> str:
    """Write a mean IoU with its interval, where there is one: `0.577 (0.541, 0.612)`."""
    text = f"{row['mean_iou']:.3f}"
    interval = row.get("mean_iou_interval")
    return f"{text} ({interval['low']:.3f}, {interval['high']:.3f})" if interval else text
