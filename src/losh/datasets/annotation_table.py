"""The CSV files of expressions that A2D-Sentences and JHMDB-Sentences are published as."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from losh.errors import UserError


def read_table(
    text: str, path: Path, required: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, column -> value) of each row after the header.

    Values are stripped, absent optional columns are left out.

    Each line is parsed alone, because an unmatched quotation mark in a query must not swallow the
    lines after it. A query whose comma was not quoted is put together again where the header says
    that the query is the last column.

    Raises:
        UserError: the header lacks a required column, or a row has the wrong number of columns;
            file and line are named.
    """
    # Not splitlines(): a query may hold characters that it takes for ends of lines.
    lines = [line.rstrip("\r") for line in text.split("\n")]
    header = [column.strip().lower() for column in (next(csv.reader(lines[:1]), []))]
    lacking = [column for column in required if column not in header]
    if lacking:
        raise UserError(
            f"{path}:1 has no column {lacking[0]} (its header is {','.join(header)!r})",
            f"The header is {','.join(required)}",
        )
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        values = next(csv.reader([line]))
        if len(values) > len(header) and header[-1] == "query":
            values = [*values[: len(header) - 1], ",".join(values[len(header) - 1 :])]
        if len(values) != len(header):
            raise UserError(
                f"{path}:{number} has {len(values)} columns, not {len(header)}",
                "Quote a text that holds a comma",
            )
        yield number, {column: value.strip() for column, value in zip(header, values, strict=True)}
