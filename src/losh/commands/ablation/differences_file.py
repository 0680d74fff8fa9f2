"""metrics/ablation_differences.csv: every difference of two rows, with how sure it is.

An interval over clips is made of the scores of single samples, which lie in DVC's cache beside the
experiments and go with the clone. So what was computed while they were there is kept, as long as
the runs that it is of are in the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from losh.commands.ablation.csv_lines import read_lines, write_lines
from losh.commands.ablation.statistics import Difference, Summary

KEY = ["base", "row", "changed", "dataset", "score", "against"]
COLUMNS = [*KEY, "difference", "p_value", "low", "high", "runs", "runs_of_interval"]
Key = tuple[str, ...]


def write_differences(summed: list[Summary], score: str, out: Path) -> None:
    """Write a line per difference; `runs` are seed:commit/commit of the row and of the other."""
    lines = []
    for key, one in _differences(summed, score):
        numbers = [one.mean, one.p_value, *(one.interval or (math.nan, math.nan))]
        shown = ["" if math.isnan(value) else f"{value:.4f}" for value in numbers]
        lines.append([*key, *shown, " ".join(one.runs), " ".join(one.interval_runs)])
    write_lines(out, COLUMNS, lines)


def with_earlier_intervals(summed: list[Summary], score: str, path: Path) -> list[Summary]:
    """Take an earlier interval where it is of more runs than can be computed here now.

    All of its runs must be among those of the difference.

    Raises:
        UserError: the file is no such table.
    """
    earlier = dict(read_lines(path, _interval))

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


def _interval(line: dict[str, str]) -> tuple[Key, tuple[tuple[float, float], Key]] | None:
    """Return its key, its interval and the interval's runs; None where it has none."""
    key, runs = tuple(line[name] for name in KEY), tuple(line["runs_of_interval"].split())
    return (key, ((float(line["low"]), float(line["high"])), runs)) if line["low"] else None
