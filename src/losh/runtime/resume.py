"""Work that survives a kill: what is finished waits in scratch/<stage>/, named by a fingerprint.

DVC deletes a stage's outputs before it runs the stage again; what lies here is not an output, so a
stage that was killed goes on where it stopped, and an item whose inputs, parameters and code did
not change is not computed again.

Which code decides a stage's result is written in one place, the stage's `deps` in dvc.yaml: a
fingerprint takes the digest of those very files (`stage_digest`), of the parameters and of the
inputs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from losh.errors import UserError
from losh.runtime.files import content_digest

SCRATCH = Path("scratch")
ROOT = Path(__file__).parents[3]
"""The repository whose code this is."""
CODE = ("stages/", "src/")
"""Where code and embedded weights lie; a stage's other deps are its inputs."""
TEMPLATE = re.compile(r"\$\{([\w.]+)\}")


def fingerprint(*parts: Any) -> str:
    """Return 16 hex digits that change when any of the JSON-able parts changes."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stage_digest(stage: str, **values: Any) -> str:
    """Digest names and bytes of the code and weight files that a stage depends on: 16 hex digits.

    Args:
        stage: its name in dvc.yaml.
        values: what templates stand for: `key` of a `foreach` stage, sections of params.yaml (the
            template `${model.base}` is `values["model"]["base"]`).

    Raises:
        UserError: there is no dvc.yaml beside src/.
    """
    deps = [dep for dep in _of_stage(stage, "deps") if dep.startswith(CODE)]
    names = sorted(_filled(dep, values) for dep in deps)
    # A dep that is missing stops DVC itself.
    return fingerprint(
        [(dep, content_digest(ROOT / dep)) for dep in names if (ROOT / dep).exists()]
    )


def stage_params(stage: str, **values: Any) -> dict[str, Any]:
    """Pick the parameters that a stage depends on, by their dotted names in dvc.yaml.

    Args:
        stage: its name in dvc.yaml.
        values: as for `stage_digest`; all sections that the stage names must be there.
    """
    keys = [_filled(key, values) for key in _of_stage(stage, "params")]
    return {key: _value(key, values) for key in keys}


def _of_stage(stage: str, part: str) -> list[str]:
    """Return the entries of one part of a stage in dvc.yaml."""
    path = ROOT / "dvc.yaml"
    if not path.is_file():
        raise UserError(
            f"{path} is missing", "Run stages from a copy of the repository, src/ beside dvc.yaml"
        )
    found = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"][stage]
    return found.get("do", found).get(part, [])


def _filled(entry: str, values: dict[str, Any]) -> str:
    """Return an entry with its templates filled."""
    return TEMPLATE.sub(lambda match: str(_value(match[1], values)), entry)


def _value(key: str, values: dict[str, Any]) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def warn_if_changed(digest: str, stage: str, **values: Any) -> None:
    """Say so where the code was edited while the stage ran: DVC records it as it is at the end.

    Args:
        digest: `stage_digest` when the stage began.
        stage, values: as for `stage_digest`.
    """
    if stage_digest(stage, **values) != digest:
        print(
            "warning: the code changed while this stage ran, and DVC records the new code as if "
            "it had been used. "
            "Run the stage again with `dvc repro -f` to be sure.",
            file=sys.stderr,
        )


def link(source: Path, target: Path) -> None:
    """Hard-link `source` to `target`, or copy it where the file system has no links.

    An existing target is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def prune(folder: Path, keep: set[str]) -> None:
    """Remove the files of `folder` whose names are not in `keep`.

    They are items of recipes that nobody uses any more.
    """
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name not in keep and path.is_file():
                path.unlink()


def keep_newest(folder: Path, count: int) -> None:
    """Remove all but the `count` entries of `folder` that changed last.

    A folder that a process holds (`held`) stays and does not count.
    """
    entries = sorted(
        (path for path in folder.iterdir() if not path.name.startswith(".")),
        key=lambda path: path.stat().st_mtime_ns,
        reverse=True,
    )
    kept = 0
    for path in entries:
        if path.is_file():
            kept += 1
            if kept > count:
                path.unlink(missing_ok=True)
            continue
        with held(path) as is_ours:
            if is_ours:
                kept += 1
                if kept > count:
                    shutil.rmtree(path, ignore_errors=True)
                    _lock_of(path).unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a folder while the block runs, or until this process dies; yields whether it is ours.

    The lock is a POSIX one: it belongs to this process alone, so that no worker that it forked
    keeps it. Where the file system has no locks nothing is ours: better kept than lost.
    """
    with _lock_of(folder).open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _lock_of(folder: Path) -> Path:
    """Beside the folder, whose time must tell when its work changed."""
    return folder.with_name(f".{folder.name}.lock")
