"""Folders of processes on several machines: on one disk that all see, or on a disk each.

Where they see one folder its first process writes for all. Where they do not, the first process of
each folder writes there, and what one of them lacks is sent to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from pathlib import Path
from typing import Any

import torch

from losh.errors import UserError
from losh.runtime.distributed import Processes
from losh.runtime.files import atomic_write

CHUNK = 64 * 2**20
"""Bytes of a file that are sent at once."""


def keepers_of(folder: Path, processes: Processes) -> Processes:
    """Make `folder` and find which processes see the same one: the first of each keeps it.

    Raises:
        UserError: on all of them: they name other folders.
    """
    if len(set(processes.gather(folder.name))) > 1:
        raise UserError(
            "the processes read different code, parameters or data",
            "Give all machines the same copy of the repository",
        )
    folder.mkdir(parents=True, exist_ok=True)
    # A new name each time: a network file system may remember that there was no such file.
    name = f".seen-{processes.gather(secrets.token_hex(8))[0]}"
    tokens = [folder / f"{name}-{rank}" for rank in range(processes.world)]
    own = tokens[processes.rank]
    own.touch()
    processes.wait()
    first = next(rank for rank, token in enumerate(tokens) if token.exists())
    processes.wait()
    own.unlink()
    return dataclasses.replace(processes, keeper=first == processes.rank)


def bring(path: Path, processes: Processes, version: Any = 1) -> None:
    """Give every folder the newest copy of a file, which at least one process may have.

    Args:
        path: the file; its name is the same for all.
        processes: of `keepers_of` the file's folder.
        version: of this process's copy, None where it has none; the largest is the newest.
    """
    versions = processes.gather(version if path.exists() else None)
    known = [one for one in versions if one is not None]
    if not known or all(one == max(known) for one in versions):
        return
    source = versions.index(max(known))
    wanted = processes.keeps and versions[processes.rank] != max(known)
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(path.open("rb")) if processes.rank == source else None
        part = stack.enter_context(atomic_write(path)) if wanted else None
        writing = stack.enter_context(part.open("wb")) if part else None
        left = processes.gather(path.stat().st_size if reading else 0)[source]
        while left:
            chunk = torch.empty(min(left, CHUNK), dtype=torch.uint8)
            if reading:
                chunk = torch.frombuffer(bytearray(reading.read(len(chunk))), dtype=torch.uint8)
            chunk = processes.broadcast(chunk, source)
            if writing:
                writing.write(chunk.numpy().tobytes())
            left -= len(chunk)
    processes.wait()
