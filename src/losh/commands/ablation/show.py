"""`losh ablation show`: the table as CSV and Markdown, and a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from losh.commands.ablation.picture import draw
from losh.commands.ablation.results import Result, newest, results
from losh.commands.ablation.sample_scores import SampleScores
from losh.commands.ablation.statistics import main_score, summaries
from losh.commands.ablation.tables import NUMBERS, markdown, markdown_of_parts, markdown_of_rows
from losh.commands.experiments import read_experiments
from losh.errors import UserError
from losh.runtime.files import atomic_write

BEGIN, END = "<!-- from here on written by `losh ablation show` -->", "<!-- to here -->"


def show(metrics: Path = Path("metrics"), docs: Path = Path("docs")) -> None:
    """Print every row that has run, failed or waits, and write the files of the ablation.

    These are metrics/ablation.csv, docs/ablation.png and the tables in docs/ablation.md.
    """
    every = results(read_experiments(all_commits=True))
    found = newest(every)
    write_csv(found, metrics / "ablation.csv")
    score = main_score(found)
    summed = summaries(found, score, SampleScores(score))
    parts = [markdown_of_rows(summed, score), markdown_of_parts(summed)] if summed else []
    text = "\n\n".join([*(part for part in parts if part), "Every run:", markdown(found)])
    page = [text]
    if summed:
        draw(summed, score, docs / "ablation.png")
        page.insert(0, "![The rows' scores](ablation.png)")
    write_between(docs / "ablation.md", "\n\n".join(page))
    print(text)
    if len(every) > len(found):
        print(f"\nleft out, because a newer commit ran them again: {len(every) - len(found)}")


def write_csv(found: list[Result], out: Path) -> None:
    """Write a line per row, seed and dataset; `start` is the commit that a run was started from."""
    keys = [key for key in NUMBERS if any(key in one.scores for one in found)]
    with atomic_write(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["base", "row", "seed", "changes", "dataset", "start", "state", *keys])
        for one in found:
            known = [one.base, one.row, one.seed, one.changed, one.dataset, one.start[:7]]
            writer.writerow([*known, one.state, *(one.scores.get(key, "") for key in keys)])


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
