"""What is wrong in a user's folder, each fault with its file and line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from losh.errors import UserError


@dataclass(frozen=True, order=True)
class Fault:
    """One thing to put right."""

    file: str
    """Relative to the folder, so that two machines write the same report."""
    line: int
    """From 1; 0: the file as a whole."""
    what: str
    times: int = 1
    """How many faults it stands for."""

    def text(self, root: str = "") -> str:
        """Return it as one line, `file:line: what`, with the folder before the file."""
        place = f"{root.rstrip('/')}/{self.file}" if root else self.file
        what = " ".join(self.what.split())
        return f"{place}:{self.line}: {what}" if self.line else f"{place}: {what}"


def as_fault(error: UserError, root: Path, file: str) -> Fault:
    """Turn a reading error into a fault, without the path and the advice for published files."""
    what = error.what.replace(f"{root / file}", "", 1).replace(f"{root}/", "")
    return Fault(file, 0, what.strip(" ,:"))
