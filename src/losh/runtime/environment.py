"""Numbers in environment variables: how things run here, never what they compute."""

from __future__ import annotations

import math
import os

from losh.errors import UserError


def check_numbers() -> None:
    """Read every such variable, so that a slip is found before any work.

    Raises:
        UserError: one of them holds no number of its kind.
    """
    for name in ("LOSH_PROCESSES", "LOSH_CLIPS_PER_DEVICE"):
        whole_number(name)
    whole_number("LOSH_WORKERS", least=0)
    seconds("LOSH_SAVE_EVERY", 0.0)
    seconds("LOSH_CLUSTER_WAIT", 0.0)


def whole_number(name: str, least: int = 1) -> int | None:
    """Return the whole number that the variable holds, or None where it is unset or empty.

    Raises:
        UserError: it holds anything else, or less than `least`.
    """
    given = os.environ.get(name, "").strip()
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or int(given) < least:
        raise UserError(f"{name} is {given!r}", f"Give a whole number of at least {least}")
    return int(given)


def seconds(name: str, default: float) -> float:
    """Return the seconds that the variable holds, or `default` where it is unset or empty.

    Raises:
        UserError: it holds anything but a finite number of at least 0.
    """
    given = os.environ.get(name, "").strip()
    if not given:
        return default
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"{name} is {given!r}", "Give a number of seconds, 0 or more")
    return value
