"""What the ablation's experiments found, each read from its own parameters and scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from losh.commands.ablation.rows import (
    BASE,
    PREFIX,
    RULE,
    SEED,
    SWITCHES,
    WEIGHTS,
    label_of,
    labels,
)
from losh.commands.experiments import Experiment
from losh.errors import UserError
from losh.report.changed import as_text

COMMIT = 7
"""Digits of a commit that are shown."""
OWN = {BASE, RULE, SEED, *SWITCHES.values()}
"""Parameters that say which row it is; what else differs from the start is the user's change."""


@dataclass(frozen=True)
class Result:
    """One row with one seed on one dataset."""

    base: str
    row: str
    seed: int
    changes: str
    """What differs from the commit that it was started from, besides the row's own: the user's
    `-S`.
    """
    weights: str
    """The same of the weights of losses that are on in this row."""
    state: str
    dataset: str
    scores: dict[str, float] = field(default_factory=dict)
    rev: str = ""
    """The experiment's commit."""
    start: str = ""
    """The commit that it was started from."""
    settings: str = ""
    """A digest of what else that commit's params.yaml said: runs that differ in it are never put
    together.
    """

    @property
    def group(self) -> tuple[str, str, str, str, str]:
        """What results that differ in the seed alone have in common."""
        return self.base, self.row, self.changes, self.weights, self.dataset

    @property
    def changed(self) -> str:
        """All of the user's changes."""
        return " ".join(part for part in (self.changes, self.weights) if part)


def results(experiments: list[Experiment]) -> list[Result]:
    """Return the ablation's rows, failed and waiting ones included, in the experiments' order.

    Raises:
        UserError: two have equal parameters.
    """
    starts = {one.name: one.params for one in experiments if one.name == one.baseline}
    ours = [one for one in experiments if one.name.startswith(f"{PREFIX}-")]
    if not ours:
        return []
    _refuse_twins(ours)
    usual = _usual_rule(ours)
    found: list[Result] = []
    for one in ours:
        params, start = one.params, starts.get(one.baseline, {})
        row = label_of(params, usual)
        rule = usual if row.startswith("all:") else params[RULE]
        known = (params[BASE], row, params[SEED], _changes(params, start, rule))
        for dataset, scores in one.scores.items() or [("", {})]:
            weights, origin = _weights(params, start), (one.rev, one.start)
            found.append(Result(*known, weights, one.state, dataset, scores, *origin))
    return found


def in_order(found: list[Result]) -> list[Result]:
    """Sort as the tables do: by base pipeline, the user's changes, the order of `labels`, seed."""
    order = {label: i for i, label in enumerate(labels())}
    return sorted(
        found,
        key=lambda r: (r.base, r.changes, order.get(r.row, 99), r.weights, r.seed, r.dataset),
    )


def newest(found: list[Result]) -> list[Result]:
    """Leave out what was run again from a newer commit: the same row, seed, changes and dataset.

    And what cannot stand beside newer runs, because its commit's parameters were others.

    `found` has the newest commit's first. What waits or has failed, and so has no dataset yet,
    takes no other run's place.
    """
    kept: dict[Any, Result] = {}
    settings: dict[Any, str] = {}
    for one in found:
        table = (one.base, one.changes, one.dataset)  # whose rows are compared
        if settings.setdefault(table, one.settings) == one.settings:
            kept.setdefault((one.group, one.seed), one)
    return list(kept.values())


def _usual_rule(experiments: list[Experiment]) -> str:
    """Return the rule of all rows but those about the rule.

    It is the one of the rows that leave a part out.
    """
    rules = Counter(
        one.params[RULE]
        for one in experiments
        if not all(one.params[key] for key in SWITCHES.values())
    )
    return rules.most_common(1)[0][0] if rules else experiments[0].params[RULE]


def _changes(params: dict[str, Any], start: dict[str, Any], rule: str) -> str:
    """Return what the user changed, but for weights.

    `rule` is that of the rows not about the rule.
    """
    changed = [
        f"{key}={as_text(value)}"
        for key, value in params.items()
        if key not in OWN and start.get(key, ...) != value
    ]
    return " ".join(changed + ([f"{RULE}={rule}"] if start.get(RULE, rule) != rule else []))


def _weights(params: dict[str, Any], start: dict[str, Any]) -> str:
    """Weights of losses that are neither 0 nor the usual ones."""
    keys = {SWITCHES[part]: usual for part, usual in WEIGHTS.items()}
    return " ".join(
        f"{key}={as_text(params[key])}"
        for key, usual in keys.items()
        if params[key] and params[key] != (start.get(key) or usual)
    )


def _refuse_twins(experiments: list[Experiment]) -> None:
    seen: dict[str, str] = {}
    for one in experiments:
        twin = seen.setdefault(repr(sorted(one.params.items())), one.name)
        if twin != one.name:
            raise UserError(
                f"the experiments {twin} and {one.name} have the same parameters",
                f"Remove one of them: `dvc exp remove {one.name}`",
            )
