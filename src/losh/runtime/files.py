"""Files that are whole or absent.

Atomic writes, deterministic JSON and zip, content digests, safe names.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from losh.errors import UserError

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that zip knows: entries without the clock


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`.

    It becomes `path` if the block ends well, and vanishes if not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, since some writers (np.savez, ffmpeg) choose the format by it; and there is
    # one, since torch.save refuses a hidden name without.
    suffix = path.suffix or ".part"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline, atomically."""
    with atomic_write(path) as part:
        part.write_text(
            json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path, made_by: str) -> Any:
    """Read a JSON artefact; `made_by` is the command that makes it, for the error.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing", f"Make it with `{made_by}`") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not valid JSON ({error})", f"Make it again with `{made_by}`"
        ) from None


def add_to_zip(archive: zipfile.ZipFile, name: str, data: bytes, compress: bool = False) -> None:
    """Add one entry with a fixed date and mode, so that equal contents give equal bytes."""
    info = zipfile.ZipInfo(name, ZIP_EPOCH)
    info.external_attr = 0o644 << 16
    info.create_system = 3
    info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    archive.writestr(info, data)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """Digest a file's contents, or names and contents of all files in a folder: hex SHA-256.

    Python's `__pycache__` is left out: it is made by reading.
    """
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            name = file.relative_to(path).as_posix()
            digest.update(f"{name}\0{sha256_of(file)}\0".encode())
    return digest.hexdigest()


def quoted(video: str) -> str:
    """Return a video's id as a safe file name on every file system.

    `#`, `!`, spaces and `/` are percent-encoded.
    """
    return quote(video, safe="")


LIMIT = 16
"""Files kept open at once in a process: enough for a batch, far below the limit on handles."""


class Closable(Protocol):
    def close(self) -> None: ...


File = TypeVar("File", bound=Closable)


class OpenFiles(Generic[File]):
    """Opens a file when it is first read in the process that reads it.

    Safe to hand to loader workers: a handle that crossed a fork would share its position with the
    parent (and HDF5 its state), so a child starts with none, and so does a copy by pickle.
    """

    def __init__(self, opener: Callable[[Path], File]) -> None:
        self._opener = opener
        self._open: OrderedDict[Path, File] = OrderedDict()
        self._pid = os.getpid()

    def get(self, path: Path) -> File:
        """Return the open file; raise what the opener raises."""
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
