"""Parameters by dotted key, and which of them differ between two states of params.yaml."""

from __future__ import annotations

import json
from typing import Any

ABSENT = "-"


def changed_params(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Key, value before, value now, of every parameter whose value is another."""
    old, new = flat(before), flat(now)
    text = {**{key: ABSENT for key in old | new}}
    was = text | {key: as_text(value) for key, value in old.items()}
    has = text | {key: as_text(value) for key, value in new.items()}
    return [(key, was[key], has[key]) for key in text if was[key] != has[key]]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def as_text(value: Any) -> str:
    """Write a parameter's value as `dvc exp run -S` takes it."""
    return value if isinstance(value, str) else json.dumps(value).replace(" ", "")
