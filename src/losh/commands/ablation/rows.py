"""The rows of the ablation.

Each sets every switch, so that it means the same whatever params.yaml holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from losh import pipelines
from losh.errors import UserError
from losh.params import Params, StrictLoader

BASE, SEED, RULE = "model.base", "train.seed", "evaluate.rule"
SWITCHES = {
    "short_stream": "model.short_stream",
    "cross_attention": "model.cross_attention",
    "intersection": "train.losses.intersection",
    "consistency": "train.losses.consistency",
}
"""Part of the method -> the parameter that switches it; a loss is off at weight 0."""
WEIGHTS = {"intersection": 0.8, "consistency": 0.5}
"""Weights of the losses where params.yaml has switched them off."""
PARTS = ("cross_attention", "intersection", "consistency")
RULES = ("long", "product", "intersection", "mean")
PREFIX = "ablation"
AGAINST = {
    "short": "base",
    **{f"+{part}": "short" for part in PARTS},
    **{f"-{part}": "all" for part in PARTS},
    "all": "short",
    **{f"all:{rule}": "all" for rule in RULES},
}
"""Row -> the row that differs from it in what it is about alone; every row also stands against the
base.
"""


@dataclass(frozen=True)
class Row:
    """One row with one seed."""

    label: str
    """`base`, `short`, `+consistency`, `-consistency`, `all`, `all:long`, ..."""
    values: dict[str, Any]
    """Parameter -> value: the base, all switches, the rule, the seed, and the user's changes."""

    @property
    def name(self) -> str:
        """Of its experiment: letters, digits and dashes, as DVC and git take them."""
        words = {"+": "only-", "-": "without-"}.get(self.label[0], self.label[0]) + self.label[1:]
        words = words.replace(":", "-").replace("_", "-")
        return f"{PREFIX}-{self.values[BASE]}-{words}-{self.values[SEED]}"


def labels() -> dict[str, tuple[frozenset[str], str | None]]:
    """Map each row to the parts that are on, and to its rule (None: the one in params.yaml).

    The rows are the base, with the short stream, each part alone, each left out, all, and all under
    each joint rule.
    """
    short, every = frozenset({"short_stream"}), frozenset(SWITCHES)
    rows: dict[str, tuple[frozenset[str], str | None]] = {
        "base": (frozenset(), None),
        "short": (short, None),
    }
    rows |= {f"+{part}": (short | {part}, None) for part in PARTS}
    rows |= {f"-{part}": (every - {part}, None) for part in PARTS}
    return rows | {"all": (every, None)} | {f"all:{rule}": (every, rule) for rule in RULES}


def plan(
    params: Params,
    seeds: list[int],
    changes: list[str],
    base: str | None = None,
    wanted: list[str] | None = None,
) -> list[Row]:
    """Return the wanted rows (None: all) with every seed, for the base pipeline `base`.

    `base` None is the one in params.yaml.

    Args:
        changes: `KEY=VALUE` for every row. A loss's weight is the one that it has where it is on,
            and the rule is the one of rows that are not about the rule.

    Raises:
        UserError: a row is unknown, or is another by the rule that holds; a change is no KEY=VALUE,
            switches a part in every row, or makes two rows equal.
    """
    unknown = sorted(set(wanted or []) - set(labels()))
    if unknown:
        raise UserError(f"there is no row {unknown[0]}", f"Take of {' '.join(labels())}")
    given = dict(parsed(change) for change in changes)
    for key in (SWITCHES["short_stream"], SWITCHES["cross_attention"], SEED):
        if key in given:
            raise UserError(f"-S {key}: the rows set it themselves", "Leave it out")
    weights = {
        part: _weight(given.pop(SWITCHES[part], getattr(params.train.losses, part) or default))
        for part, default in WEIGHTS.items()
    }
    usual = given.pop(RULE, params.evaluate.rule)
    base = base or str(given.pop(BASE, params.model.base))
    if base not in pipelines.names():
        raise UserError(
            f"there is no base pipeline {base}", f"Take of {' '.join(pipelines.names())}"
        )
    rows: list[Row] = []
    for seed in seeds:
        for label, (parts, rule) in labels().items():
            if label.startswith("all:") and rule == usual:
                continue  # that is the row `all`
            if wanted and label not in wanted:
                continue
            values: dict[str, Any] = {BASE: base}
            values |= {SWITCHES[p]: p in parts for p in ("short_stream", "cross_attention")}
            values |= {SWITCHES[p]: w if p in parts else 0.0 for p, w in weights.items()}
            rows.append(Row(label, {**values, RULE: rule or usual, SEED: seed, **given}))
    if not rows:
        raise UserError(
            f"--rows {' '.join(wanted or [])}: with the rule {usual} that is the row `all`",
            "Ask for all, or set another rule with -S evaluate.rule=RULE",
        )
    refuse_twins(rows)
    return rows


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"the weight of a loss is a number, not {value!r}")
    return float(value)


def refuse_twins(rows: list[Row]) -> None:
    """Refuse two rows with the same parameters.

    Raises:
        UserError: names both.
    """
    seen: dict[str, Row] = {}
    for row in rows:
        twin = seen.setdefault(repr(sorted(row.values.items())), row)
        if twin is not row:
            raise UserError(
                f"the rows {twin.name} and {row.name} have the same parameters",
                "Give each seed once, and no -S that undoes what a row changes",
            )


def parsed(change: str) -> tuple[str, Any]:
    """Split a `KEY=VALUE` into key and value.

    Raises:
        UserError: it is none.
    """
    key, sign, value = change.partition("=")
    if not sign or not key:
        raise UserError(f"-S {change} is no KEY=VALUE", "Write, for instance, -S train.epochs=1")
    return key, yaml.load(value, StrictLoader)


def label_of(params: dict[str, Any], usual: str) -> str:
    """Return the row that an experiment's own parameters make it.

    Args:
        params: by dotted key.
        usual: the rule of the rows that are not about the rule.
    """
    on = frozenset(part for part, key in SWITCHES.items() if params.get(key))
    if "short_stream" not in on:
        on -= {"intersection", "cross_attention"}  # which mean nothing without it
    rule = params.get(RULE)
    if on == frozenset(SWITCHES) and rule != usual:
        return f"all:{rule}"
    return next((label for label, (parts, _) in labels().items() if parts == on), "other")
