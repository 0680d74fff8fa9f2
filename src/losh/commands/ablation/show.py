"""`losh ablation show`: the table as CSV and Markdown, and a picture."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from tabulate import tabulate

from losh.commands.ablation.results import Result, results
from losh.commands.ablation.statistics import Summary, main_score, summaries
from losh.commands.experiments import read_experiments
from losh.runtime.files import atomic_write

NUMBERS = (
    "mean_iou",
    "overall_iou",
    "precision_at_50",
    "map_all_queries",
    "map_best_query",
    "j",
    "f",
    "j_and_f",
    "per_expression.mean.j_and_f",
    "davis_unsupervised.mean.j_and_f",
)


def show(metrics: Path = Path("metrics")) -> None:
    """Print every row that has run, failed or waits; write metrics/ablation.csv, .md and .png."""
    found = results(read_experiments(all_commits=True))
    write_csv(found, metrics / "ablation.csv")
    score = main_score(found)
    summed = summaries(found, score)
    text = markdown(found)
    if any(len(one.values) > 1 for one in summed):
        text += "\n\n" + markdown_of_seeds(summed, score)
    with atomic_write(metrics / "ablation.md") as part:
        part.write_text(text + "\n", encoding="utf-8")
    if summed:
        draw(summed, score, metrics / "ablation.png")
    print(text)


def columns(found: list[Result]) -> list[str]:
    """The scores that any row has."""
    return [key for key in NUMBERS if any(key in one.scores for one in found)]


def cells(one: Result) -> list[str]:
    """What tells a row from others."""
    return [one.base, one.row, str(one.seed), one.changes, one.dataset]


def write_csv(found: list[Result], out: Path) -> None:
    """A line per row, seed and dataset."""
    keys = columns(found)
    with atomic_write(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["base", "row", "seed", "changes", "dataset", "state", *keys])
        for one in found:
            writer.writerow([*cells(one), one.state, *(one.scores.get(key, "") for key in keys)])


def markdown(found: list[Result]) -> str:
    """The same as a table for docs; a column that is empty throughout is left out."""
    keys = columns(found)
    head = ["base", "row", "seed", "changes", "dataset"]
    lines = [
        cells(one)
        + [f"{one.scores[key]:.3f}" if key in one.scores else "" for key in keys]
        + ["" if one.state == "success" else one.state]
        for one in found
    ]
    return _table([*head, *keys, "state"], lines)


def markdown_of_seeds(summed: list[Summary], score: str) -> str:
    """Mean, spread and paired difference to the base, for docs."""
    head = ["base", "row", "changes", "dataset", "seeds", score, "sd", "minus base", "p (paired t)"]
    lines = [
        [one.base, one.row, one.changes, one.dataset, str(len(one.values))]
        + [_number(v) for v in (one.mean, one.deviation)]
        + [_number(one.difference, "+.3f"), _number(one.p_value)]
        for one in summed
    ]
    return _table(head, lines)


def draw(summed: list[Summary], score: str, out: Path) -> None:
    """Bars of the rows, with 95 % intervals where there are several seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [
        " ".join(part for part in (s.base, s.row, s.changes, s.dataset) if part) for s in summed
    ]
    figure, axis = plt.subplots(figsize=(8, 0.9 + 0.32 * len(summed)), layout="constrained")
    widths = [0.0 if math.isnan(one.half_width) else one.half_width for one in summed]
    bars = axis.barh(
        names,
        [one.mean for one in summed],
        xerr=widths if any(widths) else None,
        color="#4c78a8",
        ecolor="black",
        capsize=3,
    )
    axis.bar_label(bars, fmt="%.3f", padding=4, fontsize=8)
    axis.invert_yaxis()
    axis.set(xlabel=score + (" (bar: 95 % interval over seeds)" if any(widths) else ""))
    axis.margins(x=0.15)
    with atomic_write(out) as part:
        figure.savefig(part, dpi=100, metadata={"Software": None})
    plt.close(figure)


def _number(value: float, form: str = ".3f") -> str:
    return "" if math.isnan(value) else format(value, form)


def _table(head: list[str], lines: list[list[str]]) -> str:
    kept = [i for i in range(len(head)) if i in (0, 1) or any(line[i] for line in lines)]
    return tabulate(
        [[line[i] for i in kept] for line in lines],
        [head[i] for i in kept],
        tablefmt="github",
        disable_numparse=True,
    )
