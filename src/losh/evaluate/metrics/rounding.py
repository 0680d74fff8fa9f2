"""Scores as they are written."""

from __future__ import annotations

from typing import Any

DIGITS = 4
"""Of the numbers in metrics/: more would be noise in `dvc metrics diff`."""


def rounded(value: Any) -> Any:
    """Round the floats of nested mappings."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value
