"""`losh report`: the report's page once more, beside a commit's or an experiment's scores."""

from __future__ import annotations

from pathlib import Path

from losh.commands.experiments import references
from losh.errors import UserError, reason
from losh.params import load_params
from losh.report.earlier import Chosen, git
from losh.report.page import LISTS, write_report

PAGE = Path("metrics/report/index.html")
"""The output of the stage `report`, which DVC keeps."""


def write_comparison(name: str, out: Path) -> None:
    """Write the page of what was evaluated here, compared with `name`.

    Args:
        name: of a commit, branch, tag or DVC experiment.
        out: the page, .html; not the stage's own.

    Raises:
        UserError: `out` cannot be it, there is no `name`, or there are no scores on either side.
    """
    _check_out(out)
    chosen = find_chosen(name)
    try:
        write_report(load_params(), out, chosen=chosen)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({reason(error)})", "Name another place"
        ) from None


def find_chosen(name: str, root: Path = Path()) -> Chosen:
    """Find whose scores are meant. As DVC does, git is asked before the experiments.

    Raises:
        UserError: nothing has that name, or there is no git to ask.
    """
    if git(root, "rev-parse", "--git-dir") is None:
        raise UserError(
            f"{root.absolute()} is in no git repository, or git is missing",
            "Scores to compare with come from git: work in a clone",
        )
    # No name begins with a dash: git would take it for an option.
    if name and not name.startswith("-"):
        commit = git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if commit:
            return Chosen(name, commit.strip())
        if found := _experiment(name, root):
            return found
    raise UserError(f"no commit, branch, tag or experiment is called {name!r}", LISTS)


def _experiment(name: str, root: Path) -> Chosen | None:
    """Return the newest experiment of that name: there may be one for each commit."""
    for one in references(root):
        if one.name == name:
            short = git(root, "rev-parse", "--short", one.start) or one.start[:7]
            return Chosen(name, one.commit, short.strip())
    return None


def _check_out(out: Path) -> None:
    if out.suffix.lower() != ".html":
        raise UserError(f"{out} is no .html", "Name the file of -o something.html")
    if out.is_dir():
        raise UserError(f"{out} is a folder", "Name a file for -o")
    same_place = (out.parent.resolve(), out.name) == (PAGE.parent.resolve(), PAGE.name)
    if same_place or (out.exists() and PAGE.exists() and out.samefile(PAGE)):
        raise UserError(
            f"{out} is what the stage `report` wrote, and DVC keeps", "Name another file for -o"
        )
