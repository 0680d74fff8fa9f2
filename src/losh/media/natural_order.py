"""The order in which a person counts files: frame2 before frame10."""

from __future__ import annotations

import re


def natural(name: str) -> tuple[list[int | str], str]:
    """Return the key of natural order: numbers in a name count as numbers, 2 before 10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
