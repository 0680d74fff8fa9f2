"""Work that survives a kill: finished items wait in scratch/<stage>/<fingerprint>/ and are
hard-linked into the output.

DVC deletes a stage's outputs before it runs the stage again; what lies here is not an output, so a
stage that was killed goes on where it stopped, and an item whose inputs and recipe did not change
is not computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

SCRATCH = Path("scratch")


def fingerprint(*parts: Any) -> str:
    """16 hex digits that change when any of the JSON-able parts changes."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def link(source: Path, target: Path) -> None:
    """Hard-link `source` to `target`, or copy it where the file system has no links; an existing
    target is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def prune(folder: Path, keep: set[str]) -> None:
    """Remove the files of `folder` whose names are not in `keep`: items of recipes that nobody uses
    any more.
    """
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name not in keep and path.is_file():
                path.unlink()


PACKAGE = Path(__file__).parents[1]


def code_digest(packages: list[str]) -> str:
    """16 hex digits over the Python files of the named parts of losh (`model`, `frames/store.py`,
    ...).
    """
    digest = hashlib.sha256()
    for name in sorted(packages):
        part = PACKAGE / name
        for path in [part] if part.is_file() else sorted(part.rglob("*.py")):
            digest.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def warn_if_changed(packages: list[str], digest: str) -> None:
    """Say so where the code was edited while the stage ran: DVC records the code as it is at the
    end.
    """
    if code_digest(packages) != digest:
        print(
            "warning: the code changed while this stage ran, and DVC records the new code as if "
            "it had been used. "
            "Run the stage again with `dvc repro -f` to be sure.",
            file=sys.stderr,
        )
