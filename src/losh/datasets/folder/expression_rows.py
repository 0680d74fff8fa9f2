"""The table of a user's folder, expressions.csv: one expression a row, every fault with its row."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from losh.datasets.folder.faults import Fault

TABLE = "expressions.csv"
REQUIRED = ("video", "expression", "split")
OPTIONAL = ("object", "short")
COLUMNS = (*REQUIRED, *OPTIONAL)
SPLITS = ("train", "valid", "test")
BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff")
"""UTF-16's marks: what Excel calls Unicode text."""


@dataclass(frozen=True)
class Row:
    """One row without a fault of its own."""

    line: int
    video: str
    """As it is written; losh.datasets.folder.video_files finds it."""
    expression: str
    split: str
    object: str
    """Empty: the video's only object."""
    short: str


@dataclass
class Table:
    """What was read of expressions.csv."""

    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)
    """Worth a word, and no fault."""
    videos: set[str] = field(default_factory=set)
    """All that any row names, one with a fault as well."""

    def fault(self, line: int, what: str) -> None:
        """Add a fault."""
        self.faults.append(Fault(TABLE, line, what))


def read_table(root: Path) -> Table:
    """Read the table of a folder; nothing is raised, what is wrong is in `faults`."""
    table = Table()
    try:
        data = (root / TABLE).read_bytes()
    except OSError as error:
        others = sorted(path.name for path in root.glob("*.csv"))
        hint = f"; rename {others[0]}" if others else ""
        table.fault(0, f"cannot be read ({error.strerror}){hint}")
        return table
    if data.startswith(WIDE):
        table.fault(0, "is UTF-16; save it as CSV UTF-8")
        return table
    if data.startswith(BOM):
        data = data.removeprefix(BOM)
        note = "begins with a byte-order mark, as Excel writes it; it is passed over"
        table.notes.append(Fault(TABLE, 1, note))
    lines = _decoded(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), table)
    number, line = next(lines, (0, ""))
    header = _header(line, table) if number == 1 else []
    if header:
        _read_rows(lines, header, table)
    return table


def _decoded(lines: list[bytes], table: Table) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of each line that is UTF-8; another one is a fault."""
    for number, line in enumerate(lines, start=1):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte 0x{line[error.start]:02x} in column {error.start + 1}"
            table.fault(number, f"is not UTF-8 ({byte}); save the file as CSV UTF-8")


def _header(line: str, table: Table) -> list[str]:
    """Return the columns' names; empty where rows cannot be read by them."""
    if "," not in line and (";" in line or "\t" in line):
        mark = "semicolons" if ";" in line else "tabs"
        table.fault(1, f"has its columns separated by {mark}; separate them by commas")
        return []
    columns = [name.strip().lower() for name in (_split(line) or [])]
    wanted = f"the columns are {', '.join(REQUIRED)} and perhaps {', '.join(OPTIONAL)}"
    for name in REQUIRED:
        if name not in columns:
            table.fault(1, f"has no column {name}; {wanted}")
    for name in sorted(set(columns) - set(COLUMNS)):
        close = difflib.get_close_matches(name, COLUMNS, n=1)
        table.fault(1, f"has an unknown column {name!r}; " + (f"{close[0]}?" if close else wanted))
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        table.fault(1, f"has two columns {name}")
    return columns if set(REQUIRED) <= set(columns) else []


def _split(line: str) -> list[str] | None:
    """Split one line; None where a quotation mark is not closed on it."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return None


def _read_rows(lines: Iterator[tuple[int, str]], header: list[str], table: Table) -> None:
    """Read what follows the header.

    Each line is parsed alone: a quotation mark that is not closed must not swallow those after it.
    """
    count = 0
    for number, line in lines:
        if not line.strip():
            continue
        count += 1
        values = _split(line)
        if values is None:
            table.fault(number, "has a quotation mark that is not closed or does not stand alone")
            continue
        if len(values) != len(header):
            what = f"has {len(values)} columns, not {len(header)}"
            table.fault(number, f"{what}; put a text that holds a comma in quotation marks")
            continue
        cells = {name: value.strip() for name, value in zip(header, values, strict=True)}
        row = Row(number, **{name: cells.get(name, "") for name in COLUMNS})
        table.videos.add(row.video)
        faults = list(_row_faults(row))
        for what in faults:
            table.fault(number, what)
        if not faults:
            table.rows.append(row)
    if not count:
        table.fault(0, "has no row after its header")


def _row_faults(row: Row) -> Iterator[str]:
    if not row.video:
        yield "names no video"
    if not _has_letter(row.expression):
        yield f"has an expression without a letter ({row.expression!r})"
    if row.short and not _has_letter(row.short):
        yield f"has a short expression without a letter ({row.short!r})"
    if row.split not in SPLITS:
        close = difflib.get_close_matches(row.split, SPLITS, n=1)
        hint = f"{close[0]}?" if close else f"it is one of {', '.join(SPLITS)}"
        yield f"has an unknown split {row.split!r}; {hint}"


def _has_letter(text: str) -> bool:
    return any(character.isalpha() for character in text)
