"""`losh ablation show`: the table as CSV and Markdown, and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from losh.commands.ablation.differences_file import with_earlier_intervals, write_differences
from losh.commands.ablation.part_effects import part_effects
from losh.commands.ablation.picture import draw
from losh.commands.ablation.results import Result, in_order, newest, results
from losh.commands.ablation.sample_scores import SampleScores
from losh.commands.ablation.settings import settings_at
from losh.commands.ablation.statistics import main_score, summaries
from losh.commands.ablation.table_file import read_table, write_table
from losh.commands.ablation.tables import (
    KINDS,
    markdown,
    markdown_of_effects,
    markdown_of_kinds,
    markdown_of_parts,
    markdown_of_rows,
)
from losh.commands.experiments import read_experiments
from losh.errors import UserError
from losh.runtime.files import atomic_write

DIFFERENCES = "ablation_differences.csv"
BEGIN, END = "<!-- from here on written by `losh ablation show` -->", "<!-- to here -->"


def show(metrics: Path = Path("metrics"), docs: Path = Path("docs")) -> None:
    """Print every row that has run, failed or waits, and write the files of the ablation.

    These are metrics/ablation.csv, metrics/ablation_differences.csv, docs/ablation.png and the
    tables in docs/ablation.md. Runs that the first had before and that are not here are kept, and
    so are their intervals in the second. Where no experiment is here at all, the files stay as they
    are.

    Raises:
        UserError: nothing has been queued here, and the table is empty.
    """
    table = metrics / "ablation.csv"
    here = _with_settings(results(read_experiments(all_commits=True)))
    earlier = _with_settings(read_table(table))
    if not here and not earlier:
        raise UserError(
            f"no experiment of the ablation is here, and {table} has none",
            "Run `losh ablation queue`, `dvc queue start`",
        )
    found = in_order(newest(here + earlier))  # an experiment takes the place of its line
    kept = [one for one in earlier if one in found]
    score = main_score(found)
    summed = with_earlier_intervals(
        summaries(found, score, SampleScores(), KINDS), score, metrics / DIFFERENCES
    )
    parts = [markdown_of_rows(summed, score), markdown_of_parts(summed)]
    parts += [markdown_of_effects(part_effects(summed)), markdown_of_kinds(summed)]
    parts = parts if summed else []
    text = "\n\n".join([*(part for part in parts if part), "Every run:", markdown(found)])
    if here:
        write_table(found, table)
        write_differences(summed, score, metrics / DIFFERENCES)
        page = [text]
        if summed:
            draw(summed, score, docs / "ablation.png")
            page.insert(0, "![The rows' scores](ablation.png)")
        write_between(docs / "ablation.md", "\n\n".join(page))
    print(text)
    if not here:
        print(f"\nno experiment is here: this is what {table} has, and no file was written")
    runs = {(one.group, one.seed) for one in found}
    left = [one for one in here if one not in found]
    left += [one for one in earlier if (one.group, one.seed) not in runs]
    if left:
        print(
            "\nleft out, because a newer commit ran them again or has other parameters: "
            f"{len(left)}"
        )
    if kept:
        print(
            f"\nkept from {table}, since their experiments are not here: {len(kept)} (remove a "
            "line from it to drop the run)"
        )


def _with_settings(found: list[Result]) -> list[Result]:
    return [replace(one, settings=settings_at(one.start, one.base)) for one in found]


def write_between(path: Path, text: str) -> None:
    """Put `text` between the two marks of a page, which keeps the rest; a new page has no rest.

    Raises:
        UserError: the page has not both marks.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(
            f"{path} lacks the lines between which the tables belong", f"Put back {BEGIN} and {END}"
        )
    with atomic_write(path) as part:
        part.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
