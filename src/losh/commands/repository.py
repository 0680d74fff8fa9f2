"""Commands that work on a clone of the repository say so where there is none."""

from __future__ import annotations

from pathlib import Path

from losh.errors import UserError


def is_repository(here: Path) -> bool:
    """Whether a folder is the root of a clone."""
    return (here / "dvc.yaml").is_file() and (here / "params.yaml").is_file()


def require_repository(command: str, here: Path = Path()) -> None:
    """Refuse to go on anywhere else.

    Raises:
        UserError: names the command and what to do.
    """
    if not is_repository(here):
        raise UserError(
            f"{here.absolute()} is no clone of the repository (no dvc.yaml and params.yaml)",
            f"cd into yours, then `{command}`",
        )
