"""Digests of files and folders, taken once while nothing about a file changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from losh.runtime.files import sha256_of, write_json


class Digests:
    """SHA-256 by contents, remembered in a file by size and time of change.

    So a text encoder of half a gigabyte is read once.
    """

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        try:
            self._known: dict[str, list] = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}
        self._used: dict[str, list] = {}

    def of(self, path: Path) -> str:
        """Of a file's contents; of a folder's names and contents, hidden files left out.

        Where a file lies and when it was written does not matter.
        """
        if path.is_file():
            return self._of_file(path)
        digest = hashlib.sha256()
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path)
            if file.is_file() and not any(part.startswith(".") for part in name.parts):
                digest.update(f"{name.as_posix()}\0{self._of_file(file)}\n".encode())
        return digest.hexdigest()

    def save(self) -> None:
        """Remember the files asked for, and forget all others."""
        if self._used != self._known:
            write_json(self.memory, self._used)

    def _of_file(self, path: Path) -> str:
        status, key = path.stat(), str(path.resolve())
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(key)
        digest = known[1] if known and known[0] == state else sha256_of(path)
        self._used[key] = [state, digest]
        return digest
