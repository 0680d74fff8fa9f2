"""`losh ablation queue`: every row becomes a queued experiment."""

from __future__ import annotations

from losh.commands.ablation.rows import Row, plan
from losh.commands.experiments import dvc
from losh.params import load_params
from losh.report.changed import as_text


def queue(
    seeds: list[int],
    changes: list[str],
    base: str | None = None,
    wanted: list[str] | None = None,
) -> None:
    """Queue the wanted rows (None: all) with every seed.

    `dvc queue start` runs them, one after the other, or with `-j` several at once.
    """
    rows = plan(load_params(), seeds, changes, base, wanted)
    for row in in_running_order(rows):
        values = [f"{key}={as_text(value)}" for key, value in row.values.items()]
        options = [part for value in values for part in ("-S", value)]
        dvc("exp", "run", "--queue", "--name", row.name, *options)
    print(
        f"queued {len(rows)} experiments. Run them with `dvc queue start`, look with `dvc queue "
        "status`, then `losh ablation show`"
    )


def in_running_order(rows: list[Row]) -> list[Row]:
    """Put `all` first and the rows about the rule last.

    These score the same model, which DVC takes from the run of `all` where that has ended, and
    would else train again.
    """
    return sorted(rows, key=lambda row: (row.label.startswith("all:"), row.label != "all"))
