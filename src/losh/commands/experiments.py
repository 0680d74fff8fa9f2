"""DVC's experiments with the parameters and scores of each one's own commit."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from losh.errors import UserError
from losh.report.changed import flat
from losh.report.earlier import git

EVAL = "metrics/eval/"


@dataclass(frozen=True)
class Experiment:
    """One row of `dvc exp show`."""

    name: str
    """The experiment's; the branch's for a commit; `workspace`."""
    state: str
    """success, failed, queued or running; commits and the workspace are success."""
    baseline: str
    """Name of the commit it was started from; its own for a commit."""
    params: dict[str, Any]
    """Values of params.yaml by dotted key."""
    scores: dict[str, dict[str, float]]
    """Dataset -> score -> value; empty unless it succeeded: before, they are those of its start."""
    rev: str = ""
    """Its own commit; of the workspace `workspace`."""
    start: str = ""
    """The commit that it was started from; its own for a commit."""


def read_experiments(all_commits: bool = False) -> list[Experiment]:
    """Read the workspace, the current commit and its experiments (or every commit's that has any).

    Raises:
        UserError: DVC cannot show them.
    """
    revisions = ["HEAD", *(_baselines() if all_commits else [])]
    shown = json.loads(
        dvc("exp", "show", "--json", *(part for rev in revisions for part in ("--rev", rev)))
    )
    found = []
    for commit in shown:
        rev = commit["rev"]
        name = commit.get("name") or (rev if rev == "workspace" else rev[:7])
        found.append(_experiment(name, "success", name, rev, commit))
        for one in commit.get("experiments") or []:
            state = ((one.get("executor") or {}).get("state") or "success").lower()
            entry = one["revs"][0]
            found.append(_experiment(one.get("name") or entry["rev"][:7], state, name, rev, entry))
    return found


def dvc(*arguments: str) -> str:
    """Run DVC; its output.

    Raises:
        UserError: it failed, with the last line that it said.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines() or ["it said nothing"]
        raise UserError(f"`dvc {' '.join(arguments[:3])}` failed", said[-1])
    return done.stdout


def cached_output(path: Path, rev: str) -> bytes | None:
    """Return a file as an experiment or commit has it, from Git or, of a stage's, DVC's cache.

    None where there is no such revision, or its file is not in the cache.
    """
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        return dvc.api.read(path.as_posix(), rev=rev, mode="rb")
    except (DvcException, SCMError, OSError):
        return None


def _experiment(
    name: str, state: str, baseline: str, start: str, entry: dict[str, Any]
) -> Experiment:
    data = entry.get("data") or {}
    params = ((data.get("params") or {}).get("params.yaml") or {}).get("data") or {}
    scores = {
        Path(path).stem: flat(content.get("data") or {})
        for path, content in (data.get("metrics") or {}).items()
        if path.startswith(EVAL)
    }
    scores = scores if state == "success" else {}
    return Experiment(name, state, baseline, flat(params), scores, entry["rev"], start)


@dataclass(frozen=True)
class Reference:
    """Where git keeps one experiment that DVC has saved: refs/exps/4d/e6128.../NAME."""

    name: str
    commit: str
    """The experiment's own."""
    start: str
    """The commit that it was started from."""


def references(root: Path = Path()) -> list[Reference]:
    """Return the saved experiments of a clone, the newest first; none where there is no git."""
    listed = git(
        root,
        "for-each-ref",
        "--sort=-committerdate",
        "--format=%(objectname) %(refname)",
        "refs/exps",
    )
    found = []
    for line in (listed or "").splitlines():
        commit, *parts = line.replace(" ", "/").split("/")
        if len(parts) == 5 and len(parts[2]) == 2:  # beside them DVC has stashes, and what runs
            found.append(Reference(parts[4], commit, parts[2] + parts[3]))
    return found


def _baselines() -> list[str]:
    """Return the commits that experiments were started from, the newest first.

    Those of waiting and failed ones are among them.
    """
    found = sorted({one.start for one in references()})
    if not found:
        return []
    by_date = git(Path(), "rev-list", "--no-walk", *found)
    return (by_date or "").split() or found
