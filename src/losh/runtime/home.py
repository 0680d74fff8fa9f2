"""Files that git ignores, seen from the copy of the repository in which DVC runs an experiment."""

from __future__ import annotations

from pathlib import Path


def at_home(path: Path) -> Path:
    """Return `path`, or its place in the repository where we run in DVC's copy for an experiment.

    The copy lacks what git ignores.
    """
    here = Path.cwd()
    if path.is_absolute() or path.exists():
        return path
    return next(
        (
            root / path
            for root in here.parents
            if here.relative_to(root).parts[:3] == (".dvc", "tmp", "exps")
        ),
        path,
    )
