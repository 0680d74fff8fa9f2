"""`losh compare`: the experiments as a table that fits into a terminal."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

from tabulate import tabulate

from losh.commands.experiments import Experiment, read_experiments
from losh.report.changed import as_text

SCORES = {
    "mean_iou": "mIoU",
    "overall_iou": "oIoU",
    "precision_at_50": "P@50",
    "precision_at_90": "P@90",
    "map_all_queries": "mAP",
    "j_and_f": "J&F",
    "per_expression.mean.j_and_f": "J&F",
    "davis_unsupervised.mean.j_and_f": "DAVIS J&F",
}
"""Score -> its heading; what no experiment has is left out."""
NARROWEST = 20
"""Characters that the changed parameters get at the least."""


def compare(everything: bool = False) -> None:
    """Print a row per experiment and dataset.

    A row has its name, what differs from the commit that it was started from, and its scores.

    Args:
        everything: also the experiments of other commits.
    """
    found = read_experiments(everything)
    print(table(found, shutil.get_terminal_size((120, 24)).columns))


def table(experiments: list[Experiment], width: int) -> str:
    """Make the table, at most `width` characters wide where names and scores leave room."""
    baselines = {one.name: one for one in experiments if one.name == one.baseline}
    current = next((one for one in experiments if one.name != "workspace"), None)
    rows = []
    for one in experiments:
        start = current if one.name == "workspace" else baselines.get(one.baseline, current)
        rows += _rows(one, changes(one, start))
    scores = [key for key in SCORES if any(key in row["scores"] for row in rows)]
    several = len({row["dataset"] for row in rows if row["dataset"]}) > 1
    head = ["experiment", "changed", *(["dataset"] if several else [])]
    head += [SCORES[key] for key in scores] or ["state"]
    body = [
        [row["name"], row["changed"], *([row["dataset"]] if several else [])]
        + [_score(row, key) for key in scores or [""]]
        for row in rows
    ]
    others = sum(
        max(len(line[i]) for line in [head, *body]) for i in range(len(head)) if i != 1
    ) + 2 * (len(head) - 1)
    room = max(NARROWEST, width - others)
    for line in body:
        line[1] = "\n".join(textwrap.wrap(line[1], room, break_on_hyphens=False))
    return tabulate(body, head, tablefmt="simple", disable_numparse=True)


def _score(row: dict[str, Any], key: str) -> str:
    return f"{row['scores'][key]:.3f}" if key in row["scores"] else row["state"]


def changes(one: Experiment, start: Experiment | None) -> str:
    """Return the parameters that differ from those of `start`, as `-S` takes them."""
    before = start.params if start else {}
    changed = [f"{key}={as_text(v)}" for key, v in one.params.items() if before.get(key, ...) != v]
    gone = [f"without {key}" for key in before if key not in one.params]
    return " ".join([*changed, *gone]) if start is not one else ""


def _rows(one: Experiment, changed: str) -> list[dict[str, Any]]:
    state = "" if one.state == "success" else one.state
    rows = [
        {"name": one.name, "changed": changed, "dataset": name, "scores": scores, "state": state}
        for name, scores in one.scores.items()
    ] or [{"name": one.name, "changed": changed, "dataset": "", "scores": {}, "state": state}]
    for row in rows[1:]:
        row["name"] = row["changed"] = ""
    return rows
