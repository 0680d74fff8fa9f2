"""Tables of short texts: the `parse_text` stage, and any CSV that has a `query` column."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from losh.errors import UserError
from losh.params import ShortTextParams
from losh.runtime.files import atomic_write
from losh.runtime.home import at_home
from losh.short_text.overrides import read_overrides
from losh.short_text.rule import Mode
from losh.short_text.shorten import shorten

COLUMNS = [
    "split",
    "video",
    "expression_id",
    "expression_set",
    "instance",
    "text",
    "short_text",
    "step",
]


def parse_text(
    expressions_csv: Path, out_csv: Path, params: ShortTextParams, progress: bool = True
) -> dict[str, Any]:
    """Write `data/short_text/D.csv` from `data/raw/D/expressions.csv`, rows in their order.

    docs/design.md has both layouts.

    An override wins over a published short text, and that (with `prefer_published`) over the rule.

    Returns:
        `mode`, `expressions` (rows read), `skipped` (empty ones, with `on_error: skip`), `steps`
        (rows by the step that decided).

    Raises:
        UserError: a file that cannot be read, a missing column, or an empty expression with
            `on_error: stop`.
    """
    overrides = read_overrides(at_home(Path(params.overrides))) if params.overrides else {}
    table = read_csv(expressions_csv)
    require(
        table,
        expressions_csv,
        [column for column in COLUMNS if column != "step"],
        "Make it again with `dvc repro`",
    )
    empty = table["text"].str.strip() == ""
    if empty.any() and params.on_error == "stop":
        row = int(empty.to_numpy().argmax())
        which = f"video {table['video'][row]}, expression {table['expression_id'][row]}"
        raise UserError(
            f"{expressions_csv}, row {row + 1}: the expression is empty ({which})",
            "Mend it, or set short_text.on_error to skip",
        )
    kept = table[~empty].reset_index(drop=True)
    shorts = shorten(kept["text"].tolist(), params.mode, overrides, progress)
    published = kept["short_text"].str.strip()  # the annotation's own short text, or ""
    kept["step"] = [short.step for short in shorts]
    kept["short_text"] = [short.text for short in shorts]
    if params.prefer_published:
        chosen = (published != "") & (kept["step"] != "override")
        kept.loc[chosen, "short_text"] = published[chosen]
        kept.loc[chosen, "step"] = "published"
    write_csv(kept[COLUMNS], out_csv)
    steps = dict(sorted(Counter(kept["step"]).items()))
    skipped = f"; {int(empty.sum())} empty ones skipped" if empty.any() else ""
    print(
        f"{len(kept)} expressions shortened (by step: "
        f"{', '.join(f'{step} {count}' for step, count in steps.items())}){skipped}"
    )
    return {
        "mode": params.mode,
        "expressions": len(table),
        "skipped": int(empty.sum()),
        "steps": steps,
    }


def short_text_csv(
    src: Path, out: Path, mode: Mode, overrides: Path | None = None, progress: bool = False
) -> int:
    """Copy a CSV that has a `query` column, and return the number of its rows.

    `short_text` and `short_text_step` are added (or replaced).

    Every other column, the order of rows and of columns stay as they are; `out` may be `src`.

    Raises:
        UserError: a file that cannot be read or written, no `query` column, an empty query.
    """
    by_hand = read_overrides(overrides) if overrides else {}
    table = read_csv(src)
    require(table, src, ["query"], "Name the column of the sentences `query`")
    if list(table.columns).count("query") > 1:
        raise UserError(f"{src} has two columns named query", "Rename one of them")
    queries = table["query"].tolist()
    for row, query in enumerate(queries, start=1):
        if not query.strip():
            raise UserError(f"{src}, row {row}: the query is empty", "Write it, or delete the row")
    shorts = shorten(queries, mode, by_hand, progress)
    table["short_text"] = [short.text for short in shorts]
    table["short_text_step"] = [short.step for short in shorts]
    write_csv(table, out)
    return len(table)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV (UTF-8, with or without BOM) with every field as it is written.

    "NA" and "null" are words here, "007" is no number.

    Raises:
        UserError: it cannot be read, or is not a CSV.
    """
    try:
        # The header is read as a row, so that pandas neither renames columns of the same name nor
        # takes one for an index.
        table = pd.read_csv(
            path,
            header=None,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty", "Give a CSV with a header line") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        why = " ".join(str(error).replace("Error tokenizing data. C error: ", "").split())
        raise UserError(
            f"{path} is not a CSV in UTF-8 ({why})", "Mend it, or save it again as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from None
    header = table.iloc[0].tolist()
    rows = table.iloc[1:].fillna("").reset_index(drop=True)
    rows.columns = pd.Index(header)
    return rows


def require(table: pd.DataFrame, path: Path, columns: list[str], advice: str) -> None:
    """Check that a table has its columns.

    Raises:
        UserError: names the first that is missing.
    """
    for column in columns:
        if column not in table.columns:
            raise UserError(
                f"{path} has no column {column!r} (it has {', '.join(map(str, table.columns))})",
                advice,
            )


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV atomically, the same bytes on every system.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        with atomic_write(path) as part:
            table.to_csv(part, index=False, lineterminator="\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error})",
            "Name a file in a folder that you may write to",
        ) from None
