"""Archives from the network, unpacked with suspicion.

Nothing outside the folder, no links, no bombs, nothing half done.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from losh.errors import UserError

LARGEST = 500 * 1024**3
"""Bytes that an archive may unpack to (our choice: the largest of the datasets is some tens of GB).
"""
MOST_FILES = 5_000_000
RATIO = 1000
"""Times its own size that an archive may unpack to, above the first GiB: masks compress well, bombs
better.
"""
JUNK = {"__MACOSX", ".AppleDouble", ".DS_Store"}
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    OSError,
)


@dataclass
class Budget:
    """What may still be unpacked from one archive."""

    archive: Path
    room: int
    files: int = 0
    bytes: int = 0

    def take(self, size: int) -> None:
        """Count one file of `size` bytes.

        Raises:
            UserError: the archive unpacks to too much.
        """
        self.files += 1
        self.bytes += size
        allowed = min(LARGEST, max(1024**3, RATIO * self.archive.stat().st_size))
        if self.files > MOST_FILES or self.bytes > allowed:
            raise UserError(
                f"{self.archive} unpacks to too much ({self.files} files, {self.bytes} bytes)",
                "It is no archive of this dataset",
            )
        if self.bytes > self.room:
            raise UserError(
                f"{self.archive} unpacks to more than the {self.room // 1024**2} MiB of the disk",
                "Make room",
            )


def unpack_all(archives: list[Path], loose: list[Path], target: Path) -> None:
    """Unpack archives into `target`, one after the other, and link `loose` files and folders in.

    Each is unpacked beside the target first and then moved in.

    An archive that was unpacked before and has not changed (size, time of change) is passed over.

    Raises:
        UserError: an archive is broken or unsafe; nothing of it is then in `target`.
    """
    marks = target / ".unpacked"
    marks.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        stat = archive.stat()
        mark, identity = (
            marks / f"{archive.name}.json",
            {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns},
        )
        if mark.exists() and json.loads(mark.read_text()) == identity:
            continue
        aside = target.parent / f".part-{target.name}-{archive.name}"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            unpack(archive, aside)
            _move_in(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        mark.write_text(json.dumps(identity))
    for path in loose:
        _link_in(path, target / path.name)


def unpack(archive: Path, target: Path) -> None:
    """Unpack one zip or tar (plain, gzip, bzip2, xz) into a folder that does not exist yet.

    Raises:
        UserError: a broken archive, an entry that would lie outside `target`, a link or device, or
            more bytes than allowed.
    """
    target.mkdir(parents=True)
    budget = Budget(archive, shutil.disk_usage(target).free)
    try:
        entries = _zip_entries(archive) if zipfile.is_zipfile(archive) else _tar_entries(archive)
        with tqdm(desc=f"unpack {archive.name}", unit="B", unit_scale=True) as bar:
            for name, size, stream in entries:
                place = _inside(target, name, archive)
                if place is None:
                    continue
                budget.take(size)
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    shutil.copyfileobj(stream, file, 1 << 20)
                bar.update(size)
    except BROKEN as error:
        # One line: tarfile tells of each compression that it tried in a line of its own.
        why = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise UserError(
            f"{archive} cannot be unpacked ({why})",
            "Where it is damaged or cut short, fetch it again; else unpack it by hand",
        ) from None


def _zip_entries(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as file:
        for entry in file.infolist():
            kind = (entry.external_attr >> 16) & 0o170000
            if entry.is_dir():
                continue
            if kind not in (0, 0o100000):
                raise UserError(
                    f"{archive} holds a link or device ({entry.filename})",
                    "It is no archive of this dataset",
                )
            with file.open(entry) as stream:
                yield entry.filename, entry.file_size, stream


def _tar_entries(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(archive, "r:*") as file:
        for entry in file:
            if entry.isdir():
                continue
            if not entry.isreg():
                raise UserError(
                    f"{archive} holds a link or device ({entry.name})",
                    "It is no archive of this dataset",
                )
            tarfile.data_filter(entry, "/nowhere")  # Python's own opinion besides ours
            stream = file.extractfile(entry)
            assert stream is not None  # regular files have contents
            yield entry.name, entry.size, stream
        # tarfile takes the end of the file for the end of the archive; a block of zeros is that.
        if file.fileobj is None or file.fileobj.tell() <= file.offset:
            raise tarfile.ReadError("it ends without tar's mark of the end")


def _inside(target: Path, name: str, archive: Path) -> Path | None:
    """Return where an entry goes; None for the leavings of macOS.

    Raises:
        UserError: the entry's name is absolute or climbs out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if (
        path.is_absolute()
        or ".." in path.parts
        or not path.parts
        or re.match(r"[A-Za-z]:", name)
        or "\0" in name
    ):
        raise UserError(
            f"{archive} holds an entry outside its folder ({name!r})",
            "It is no archive of this dataset",
        )
    if JUNK & set(path.parts) or path.name.startswith("._"):
        return None
    return target / path


def _move_in(source: Path, target: Path) -> None:
    """Move a folder's files into `target`, beside and over what lies there."""
    for folder, _, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        if place.is_symlink():
            place.unlink()  # a folder of the user's, linked in before: we never write into it
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.replace(Path(folder) / name, place / name)


def _link_in(path: Path, link: Path) -> None:
    """Link a user's file or folder in.

    A folder that an archive has filled too is linked child by child.
    """
    if link.is_symlink():
        link.unlink()
    if not link.exists():
        link.symlink_to(path.absolute())
    elif path.is_dir() and link.is_dir():
        for child in sorted(path.iterdir()):
            _link_in(child, link / child.name)
