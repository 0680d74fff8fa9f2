"""The ablation's CSV files: written at once or not at all, and refused in one line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from losh.errors import UserError
from losh.runtime.files import atomic_write

T = TypeVar("T")


def write_lines(out: Path, head: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Write a table."""
    with atomic_write(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(lines)


def read_lines(path: Path, parse: Callable[[dict[str, str]], T | None]) -> list[T]:
    """Return what `parse` makes of each line, but for None; nothing where there is no file.

    Raises:
        UserError: the file is no such table.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            parsed = [parse(line) for line in csv.DictReader(file)]
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error):
        raise UserError(
            f"{path} is no table of `losh ablation show`", "Put it back from Git, or remove it"
        ) from None
    return [one for one in parsed if one is not None]
