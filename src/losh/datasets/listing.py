"""Which files a source folder has, from the disk or from a manifest, and which it should have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from losh.errors import UserError


@dataclass(frozen=True)
class FileListing:
    """A folder's files by relative path (`/` on every system).

    With a manifest the answers come from the manifest, so that a file that has vanished since the
    download stage is an error where it is read, and not a dataset that has silently become smaller.
    """

    root: Path
    listed: Mapping[str, int] | None = None
    """Relative path -> bytes; None: look at the disk."""

    def path(self, name: str) -> Path:
        """Return the file or folder of a relative path."""
        return self.root / name

    def has(self, name: str) -> bool:
        """Whether the file, or a folder with any file, is there."""
        if self.listed is None:
            return (self.root / name).exists()
        return name in self.listed or name in self._children

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files and folders in a folder, hidden ones left out.

        Empty where there is no such folder.
        """
        if self.listed is not None:
            return sorted(self._children.get(folder, ()))
        try:
            return sorted(
                name for name in os.listdir(self.root / folder) if not name.startswith(".")
            )
        except (FileNotFoundError, NotADirectoryError):
            return []

    def text(self, name: str, encoding: str = "utf-8-sig") -> str:
        """Return a text file's contents, with any byte-order mark left out.

        Raises:
            UserError: the file is missing or is not in that encoding.
        """
        path = self.root / name
        try:
            return path.read_text(encoding=encoding)
        except (FileNotFoundError, IsADirectoryError):
            raise UserError(
                f"{path} is missing",
                "It was there when the dataset was checked; put it back, or repeat the download "
                "stage",
            ) from None
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not {encoding} text (byte {error.start})",
                "Fetch the published file again",
            ) from None

    @cached_property
    def _children(self) -> dict[str, set[str]]:
        """Folder -> names in it, from the manifest."""
        children: dict[str, set[str]] = {}
        for name in self.listed or ():
            path = PurePosixPath(name)
            # Once a parent knows its child, all its own parents know it too.
            while path.name and path.name not in (
                known := children.setdefault(
                    "" if str(path.parent) == "." else str(path.parent), set()
                )
            ):
                known.add(path.name)
                path = path.parent
        return children


def complete_names(names: Iterable[str], first: int) -> tuple[str, ...]:
    """Return the names of frames `first`, first + 1, ... up to the largest number among `names`.

    Names are without suffix. So position and number agree where a file is missing from the middle.

    A number that no name has is spelt as the publications do, with five digits; names that are no
    number, or a smaller one than `first`, are left out.
    """
    by_number = {int(name): name for name in names if name.isdecimal() and int(name) >= first}
    last = max(by_number, default=first - 1)
    return tuple(by_number.get(number, f"{number:05d}") for number in range(first, last + 1))
