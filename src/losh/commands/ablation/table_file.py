"""metrics/ablation.csv: a line per row, seed and dataset, which outlives the experiments.

Experiments are refs and a cache of one machine; the table is committed. So what it has of runs that
are not here (those of another machine, or of a clone that is gone) is kept.
"""

from __future__ import annotations

from pathlib import Path

from losh.commands.ablation.csv_lines import read_lines, write_lines
from losh.commands.ablation.results import COMMIT, Result
from losh.commands.ablation.tables import NUMBERS

SCORES = [
    *NUMBERS,
    *(f"{key}_interval.{end}" for key in ("mean_iou", "j_and_f") for end in ("low", "high")),
]
"""What is kept: what the page shows, and the main score's interval over clips for the picture."""
KNOWN = ["base", "row", "seed", "changes", "weights", "dataset", "start", "state"]


def write_table(found: list[Result], out: Path) -> None:
    """Write a line per row, seed and dataset; `start` is the commit that a run was started from."""
    keys = [key for key in SCORES if any(key in one.scores for one in found)]
    lines = [
        [
            *(one.base, one.row, one.seed, one.changes, one.weights, one.dataset),
            *(one.start[:COMMIT], one.state),
            *(one.scores.get(key, "") for key in keys),
        ]
        for one in found
    ]
    write_lines(out, [*KNOWN, *keys], lines)


def read_table(path: Path) -> list[Result]:
    """Read the runs of an earlier table that succeeded; none where there is no table.

    Raises:
        UserError: the file is no such table.
    """
    return read_lines(path, _result)


def _result(line: dict[str, str]) -> Result | None:
    if line["state"] != "success":
        return None
    return Result(
        base=line["base"],
        row=line["row"],
        seed=int(line["seed"]),
        changes=line["changes"],
        weights=line.get("weights") or "",  # older tables have them among the changes
        state=line["state"],
        dataset=line["dataset"],
        scores={key: float(line[key]) for key in SCORES if line.get(key)},
        start=line["start"],
    )
