"""A published dataset's layout: its parts (files and folders), and where they are in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

DEPTH = 4
"""How far below the named folder parts are looked for: an archive's own folder, a dataset's name, a
release's name.
"""
CROWD = 100
"""A folder with more subfolders than this holds videos, not parts of a layout, and is not looked
into.
"""


@dataclass(frozen=True)
class Part:
    """A file or folder of the published layout."""

    path: str
    least: int = 1
    """How many of the last components of `path` tell it apart: people unpack archives side by side
    as well as inside each other.
    """


@dataclass(frozen=True)
class Layout:
    """The parts of a dataset, and which of them are enough to read something."""

    parts: dict[str, Part]
    groups: tuple[tuple[str, ...], ...]
    """At least one group must be there as a whole."""

    def locate(self, root: Path) -> dict[str, str]:
        """Return part -> path relative to `root`, of the parts that are there.

        The published place is tried first.
        """
        folders = _folders(root)
        found = {}
        for name, part in self.parts.items():
            components = PurePosixPath(part.path).parts
            tails = [
                "/".join(components[start:]) for start in range(len(components) - part.least + 1)
            ]
            hit = next(
                (
                    folder / tail
                    for tail in tails
                    for folder in folders
                    if (root / folder / tail).exists()
                ),
                None,
            )
            if hit is not None:
                found[name] = hit.as_posix()
        return found

    def missing(self, found: dict[str, str]) -> list[str]:
        """Return the published paths that the most nearly complete group lacks.

        Empty when one group is whole.
        """
        lacks = [
            [self.parts[name].path for name in group if name not in found] for group in self.groups
        ]
        return min(lacks, key=len)


def _folders(root: Path) -> list[PurePosixPath]:
    """List `root` (as `.`) and the folders below it, nearest first and then by name.

    Crowded and hidden ones are left out.
    """
    level, found = [PurePosixPath(".")], []
    for _ in range(DEPTH):
        found += level
        below = []
        for folder in level:
            try:
                names = sorted(
                    entry.name
                    for entry in os.scandir(root / folder)
                    if entry.is_dir() and not entry.name.startswith(".")
                )
            except OSError:
                continue
            if len(names) <= CROWD:
                below += [folder / name for name in names]
        level = below
    return found
