"""Files kept open between reads, the longest unused closed first."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

LIMIT = 16
"""Files kept open at once in a process: enough for a batch, far below the limit on handles."""


class Closable(Protocol):
    def close(self) -> None: ...


File = TypeVar("File", bound=Closable)


class OpenFiles(Generic[File]):
    """Opens a file when it is first read in the process that reads it.

    Safe to hand to loader workers: a handle that crossed a fork would share its position with the parent (and HDF5 its state), so a child
    starts with none, and so does a copy by pickle.
    """

    def __init__(self, opener: Callable[[Path], File]) -> None:
        self._opener = opener
        self._open: OrderedDict[Path, File] = OrderedDict()
        self._pid = os.getpid()

    def get(self, path: Path) -> File:
        """The open file; raises what the opener raises."""
        if os.getpid() != self._pid:
            # Not closed: the handles are the parent's.
            self._open, self._pid = OrderedDict(), os.getpid()
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        file = self._open[path] = self._opener(path)
        if len(self._open) > LIMIT:
            self._open.popitem(last=False)[1].close()
        return file

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": OrderedDict()}
