"""`losh check-data`: what is wrong in a folder of one's own, before anything runs."""

from __future__ import annotations

from pathlib import Path

from losh.datasets.folder.check_folder import check_folder


def check_data(root: Path) -> bool:
    """Print each fault with its file and line, and a summary; whether all is well.

    Raises:
        UserError: `root` is no folder.
    """
    checked = check_folder(root)
    print("\n".join(checked.lines(str(root))))
    return not checked.faults
