"""metrics/ablation_differences.csv: every difference of two rows, with how sure it is.

An interval over clips is made of the scores of single samples, which lie in DVC's cache beside the
experiments and go with the clone. So what was computed while they were there is kept, as long as
the runs that it is of are in the table.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from losh.commands.ablation.statistics import Difference, Summary
from losh.errors import UserError
from losh.runtime.files import atomic_write

KEY = ["base", "row", "changed", "dataset", "score", "against"]
COLUMNS = [*KEY, "difference", "p_value", "low", "high", "runs", "runs_of_interval"]
Key = tuple[str, ...]


def write_differences(summed: list[Summary], score: str, out: Path) -> None:
    """Write a line per difference; `runs` are seed:commit/commit of the row and of the other."""
    with atomic_write(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for key, one in _differences(summed, score):
            numbers = [one.mean, one.p_value, *(one.interval or (math.nan, math.nan))]
            shown = ["" if math.isnan(value) else f"{value:.4f}" for value in numbers]
            writer.writerow([*key, *shown, " ".join(one.runs), " ".join(one.interval_runs)])


def with_earlier_intervals(summed: list[Summary], score: str, path: Path) -> list[Summary]:
    """Take an earlier interval where it is of more runs than can be computed here now.

    All of its runs must be among those of the difference.

    Raises:
        UserError: the file is no such table.
    """
    earlier = _read(path)

    def chosen(one: Summary, of: str, new: Difference) -> Difference:
        interval, runs = earlier.get(_key(one, of, new), (None, ()))
        if len(runs) <= len(new.interval_runs) or not set(runs) <= set(new.runs):
            return new
        return replace(new, interval=interval, interval_runs=runs)

    return [
        replace(
            one,
            to_base=one.to_base and chosen(one, score, one.to_base),
            to_neighbour=one.to_neighbour and chosen(one, score, one.to_neighbour),
            by_kind={kind: chosen(one, kind, found) for kind, found in one.by_kind.items()},
        )
        for one in summed
    ]


def _differences(summed: list[Summary], score: str) -> Iterator[tuple[Key, Difference]]:
    seen: set[Key] = set()  # where the neighbour is the base, one line serves both tables
    for one in summed:
        pairs = [(score, one.to_base), (score, one.to_neighbour), *one.by_kind.items()]
        for of, found in pairs:
            if found is not None and (key := _key(one, of, found)) not in seen:
                seen.add(key)
                yield key, found


def _key(one: Summary, of: str, found: Difference) -> Key:
    return one.base, one.row, one.changed, one.dataset, of, found.against


def _read(path: Path) -> dict[Key, tuple[tuple[float, float], tuple[str, ...]]]:
    """Key -> interval and its runs, of those that have one; nothing where there is no file."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                tuple(line[key] for key in KEY): (
                    (float(line["low"]), float(line["high"])),
                    tuple(line["runs_of_interval"].split()),
                )
                for line in csv.DictReader(file)
                if line["low"]
            }
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error):
        raise UserError(
            f"{path} is no table of `losh ablation show`", "Put it back from Git, or remove it"
        ) from None
