"""What `make run` ends with: the scores, and where to look next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
        rows = {"LoSh": scores} | scores.get("trivial", {})
        keys = [key for key in SHOWN if key in scores]
        if keys:
            print(
                "".join(
                    f"{text:>{width}}"
                    for text, width in zip(["", *keys], [32] + [17] * len(keys), strict=True)
                )
            )
            for name, row in rows.items():
                cells = "".join(f"{row[key]:17.3f}" if key in row else f"{'-':>17}" for key in keys)
                print(f"{name.replace('_', ' '):>32}{cells}")
        for name, value in _flat(
            {
                key: value
                for key, value in scores.items()
                if key not in (*SHOWN, "trivial", "samples", "skipped")
            }
        ):
            print(f"{name:>48} {value:.3f}")
    print(
        f"\nlook next:\n  {data}/evaluate/*/pictures/   the worst, middling and best cases "
        f"(green: truth, red: prediction)"
        f"\n  {data}/evaluate/*/expressions.csv   the scores of every expression"
        f"\n  {metrics}/train/curves.png   the training's curves (`dvc plots show` makes a page "
        f"of them)"
        "\n  dvc exp run -S train.epochs=20   change a parameter; then `losh compare`"
    )


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in values.items():
        found += (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
        )
    return found
