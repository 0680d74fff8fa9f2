"""The earlier scores that a run is compared with: the newest ones in git that differ from it.

`losh report` compares with a commit of the user's choice instead.

Before the run is committed these are those of HEAD, which `dvc metrics diff` compares with too;
once it is committed, still the same ones, so that the page does not change by being committed.
Experiments, also those in DVC's temporary folders, have the commit from which they were started as
HEAD.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LOOKED_AT = 50
"""Commits that changed the scores; a run that equals so many is compared with nothing."""


@dataclass(frozen=True)
class Chosen:
    """What somebody wants a run to be compared with."""

    name: str
    """As it was given: of an experiment, a branch or a tag, or a commit."""
    commit: str
    """Its hash."""
    start: str = ""
    """Of an experiment, the short hash of the commit that it was started from; else empty."""


@dataclass(frozen=True)
class Earlier:
    """What one commit says of a dataset."""

    commit: str
    """Short hash."""
    date: str
    """Of the commit, YYYY-MM-DD."""
    subject: str
    """First line of its message."""
    scores: dict[str, Any]
    params: dict[str, Any]
    """params.yaml of that commit; empty where it has none that can be read."""
    chosen: Chosen | None = None
    """Whose they are, where somebody chose; None: they were found."""

    @property
    def label(self) -> str:
        """What columns and lines of these scores are called: a chosen run may be a later one."""
        return "other" if self.chosen else "earlier"


def earlier_scores(path: Path, now: dict[str, Any], root: Path = Path()) -> Earlier | None:
    """Find the newest commit, from HEAD backwards, whose file `path` holds other scores than `now`.

    None where there is none: outside git, without git, or before the first commit of scores.

    Args:
        path: relative to `root`.
        now: the scores of this run.
        root: the folder in which the workflow runs.
    """
    commits = git(root, "rev-list", f"--max-count={LOOKED_AT}", "HEAD", "--", path.as_posix())
    for commit in (commits or "").split():
        scores = _scores_at(commit, path, root)
        if scores and scores != now:
            return _earlier(commit, scores, root)
    return None


def chosen_scores(path: Path, chosen: Chosen, root: Path = Path()) -> Earlier | None:
    """Return what a chosen commit holds in the file `path`; None where it holds no scores there.

    Args:
        path: relative to `root`.
        chosen: by the user.
        root: the folder in which the workflow runs.
    """
    scores = _scores_at(chosen.commit, path, root)
    return _earlier(chosen.commit, scores, root, chosen) if scores else None


def _scores_at(commit: str, path: Path, root: Path) -> dict[str, Any]:
    return _parsed(git(root, "show", f"{commit}:./{path.as_posix()}"))


def _earlier(
    commit: str, scores: dict[str, Any], root: Path, chosen: Chosen | None = None
) -> Earlier:
    about = git(root, "show", "--no-patch", "--format=%h%n%cs%n%s", commit) or ""
    short, date, subject = about.split("\n")[:3]  # the last is empty of a commit without a message
    params = _parsed(git(root, "show", f"{commit}:./params.yaml"))
    return Earlier(short, date, subject, scores, params, chosen)


def _parsed(text: str | None) -> dict[str, Any]:
    """Parse a JSON or YAML mapping; empty where it is none."""
    try:
        found = json.loads(text or "null")
    except ValueError:
        try:
            found = yaml.safe_load(text or "")
        except yaml.YAMLError:
            return {}
    return found if isinstance(found, dict) else {}


def git(root: Path, *arguments: str) -> str | None:
    """Return what git says; None where it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, encoding="utf-8", errors="replace"
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
