"""Hand-made short texts that win over the rule."""

from __future__ import annotations

import csv
from pathlib import Path

from losh.errors import UserError

COLUMNS = ["long", "short"]


def folded(text: str) -> str:
    """Return a text as overrides compare it: lower case, single spaces."""
    return " ".join(text.lower().split())


def read_overrides(path: Path) -> dict[str, str]:
    """Short texts by folded long text, from a CSV with the columns `long` and `short`.

    Raises:
        UserError: names the file and the line: other columns, a missing or surplus field, an empty
            text, two short texts for one long text.
    """
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            if next(reader, None) != COLUMNS:
                raise UserError(
                    f"{path}, line 1: the columns must be long,short",
                    "Write that as the first line",
                )
            for row in reader:
                if row:
                    _add(found, row, f"{path}, line {reader.line_num}")
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: not valid CSV ({error})", "Mend that line"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {_line_of_byte(path, error)}: not UTF-8 ({error.reason})",
            "Save the file as UTF-8",
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror})",
            "Name a CSV with columns long,short, or null",
        ) from None
    return found


def _add(found: dict[str, str], row: list[str], where: str) -> None:
    if len(row) != len(COLUMNS):
        raise UserError(
            f"{where}: {len(row)} fields where long,short takes 2",
            'Put a text that has a comma in quotes: "a, b",a',
        )
    long, short = folded(row[0]), " ".join(row[1].split())
    if not long or not short:
        raise UserError(
            f"{where}: the {'short' if long else 'long'} text is empty",
            "Write it, or delete the line",
        )
    if found.setdefault(long, short) != short:
        raise UserError(
            f"{where}: {long!r} has another short text above", "Keep one of the two lines"
        )


def _line_of_byte(path: Path, error: UnicodeDecodeError) -> int:
    """Return the number of the line that is not UTF-8.

    The error itself counts from the start of a read buffer.
    """
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return number
    return 1
