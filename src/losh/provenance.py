"""Which code a stage ran: its digest at the start, compared at the end."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent


def code_digest(packages: list[str]) -> str:
    """16 hex digits over the Python files of the named parts of losh (`model`, `frames/store.py`, ...)."""
    digest = hashlib.sha256()
    for name in sorted(packages):
        part = PACKAGE / name
        for path in [part] if part.is_file() else sorted(part.rglob("*.py")):
            digest.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def warn_if_changed(packages: list[str], digest: str) -> None:
    """Say so where the code was edited while the stage ran: DVC records the code as it is at the end."""
    if code_digest(packages) != digest:
        print(
            "warning: the code changed while this stage ran, and DVC records the new code as if it had been used. "
            "Run the stage again with `dvc repro -f` to be sure.",
            file=sys.stderr,
        )
