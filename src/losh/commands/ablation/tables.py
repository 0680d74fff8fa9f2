"""The ablation's tables as Markdown."""

from __future__ import annotations

import math

from tabulate import tabulate

from losh.commands.ablation.part_effects import PartEffect
from losh.commands.ablation.results import COMMIT, Result
from losh.commands.ablation.statistics import Difference, Summary

NUMBERS = {
    "mean_iou": "mean_iou",
    "kinds.plain.mean_iou": "plain",
    "kinds.misleading.mean_iou": "misleading",
    "kinds.ambiguous.mean_iou": "ambiguous",
    "kinds.motion.mean_iou": "motion",
    "overall_iou": "overall_iou",
    "precision_at_50": "precision_at_50",
    "map_all_queries": "map_all_queries",
    "map_best_query": "map_best_query",
    "j": "j",
    "f": "f",
    "j_and_f": "j_and_f",
    "per_expression.mean.j_and_f": "j_and_f",
    "davis_unsupervised.mean.j_and_f": "DAVIS j_and_f",
}
"""Score -> its heading; what no row has is left out. Those of kinds are mean IoUs."""
KINDS = [key for key in NUMBERS if key.startswith("kinds.")]


def markdown(found: list[Result]) -> str:
    """Make a line per row, seed and dataset; leave out a column that is empty throughout."""
    keys = [key for key in NUMBERS if any(key in one.scores for one in found)]
    head = [
        "base",
        "row",
        "seed",
        "changes",
        "dataset",
        *(NUMBERS[key] for key in keys),
        "commit",
        "state",
    ]
    lines = [
        [one.base, one.row, str(one.seed), one.changed, one.dataset]
        + [f"{one.scores[key]:.3f}" if key in one.scores else "" for key in keys]
        + [one.start[:COMMIT], "" if one.state == "success" else one.state]
        for one in found
    ]
    return _table(head, lines)


def markdown_of_rows(summed: list[Summary], score: str) -> str:
    """Mean and spread of each row, scores by kind, and what it has more than the base."""
    keys = [key for key in KINDS if any(key in one.means for one in summed)]
    head = ["base", "row", "changes", "dataset", "seeds", score, "sd"]
    head += [*(NUMBERS[key] for key in keys), *_heads("base")]
    lines = [
        [one.base, one.row, one.changed, one.dataset, str(len(one.values))]
        + [_number(value) for value in (one.mean, one.deviation)]
        + [_number(one.means.get(key, math.nan)) for key in keys]
        + _cells(one.to_base)
        for one in summed
    ]
    return _table(head, lines)


def markdown_of_parts(summed: list[Summary]) -> str:
    """Show what one part changes: each row against the one without it, or with it.

    Without a pair it is "".

    Rows whose one neighbour is the base are in the other table.
    """
    pairs = [
        (one, one.to_neighbour)
        for one in summed
        if one.to_neighbour and one.to_neighbour.against != "base"
    ]
    if not pairs:
        return ""
    head = ["base", "row", "changes", "dataset", "against", *_heads("it")]
    lines = [
        [one.base, one.row, one.changed, one.dataset, other.against, *_cells(other)]
        for one, other in pairs
    ]
    return _table(head, lines)


def markdown_of_effects(found: list[PartEffect]) -> str:
    """Show what each part does over all rows with and without it; "" where nothing says."""
    head = ["base", "part", "changes", "dataset", "trainings", "with it", "without", "difference"]
    head += ["95 % over trainings", "p"]
    lines = [
        [
            *(one.base, one.part, one.changed, one.dataset, str(one.trainings)),
            *(_number(one.with_it), _number(one.without)),
            _number(one.with_it - one.without, "+.3f"),
            *("({:+.3f}, {:+.3f})".format(*one.interval), _number(one.p_value)),
        ]
        for one in found
    ]
    return f"Over the eight rows with the short stream:\n\n{_table(head, lines)}" if found else ""


def markdown_of_kinds(summed: list[Summary]) -> str:
    """Show what each row has more than the base by kind of expression, tested as over all.

    Without a pair it is "".
    """
    pairs = [one for one in summed if one.by_kind]
    keys = [key for key in KINDS if any(key in one.by_kind for one in pairs)]
    head = ["base", "row", "changes", "dataset"]
    head += [f"{NUMBERS[key]}, minus base" for key in keys]
    lines = [
        [one.base, one.row, one.changed, one.dataset]
        + [_one_cell(one.by_kind.get(key)) for key in keys]
        for one in pairs
    ]
    return _table(head, lines) if pairs else ""


def _one_cell(one: Difference | None) -> str:
    """As `_cells`; bold where it is more than chance."""
    if one is None:
        return ""
    mean, _, p_value, verdict = _cells(one)
    tests = ", ".join(
        part for part in ("{}{}".format(*_interval(one)), p_value and f"p {p_value}") if part
    )
    mean = f"**{mean}**" if verdict == "yes" else mean
    return f"{mean} ({tests})" if tests else mean


def _heads(other: str) -> list[str]:
    return [f"minus {other}", "95 % over clips", "p (paired t)", "more than chance"]


def _cells(one: Difference | None) -> list[str]:
    if one is None:
        return [""] * 4
    bounds, seeds = _interval(one)
    interval = f"({bounds}){seeds}" if bounds else ""
    return [_number(one.mean, "+.3f"), interval, _number(one.p_value), one.verdict]


def _interval(one: Difference) -> tuple[str, str]:
    """Return its ends, and of how many seeds it is where that is not all; "" without one."""
    if one.interval is None:
        return "", ""
    fewer = len(one.interval_runs) < len(one.runs)  # the others' samples are not here
    seeds = f" of {len(one.interval_runs)} of {len(one.runs)} seeds" if fewer else ""
    return "{:+.3f}, {:+.3f}".format(*one.interval), seeds


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
