"""Where outputs go: looked at before any work.

None may destroy the clip or another output, and none may turn out to be unwritable at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path

from losh.errors import UserError, reason
from losh.own_video.result_files import refuse_other_files

OWN_PLACE = "Give each a place of its own"
OTHER_PLACE = "Name another place"


@dataclass(frozen=True)
class Output:
    """One thing that is to be written."""

    path: Path
    option: str
    """That names it on the command line."""
    suffix: str = ""
    """Of a file; empty: a folder of masks."""

    @property
    def real(self) -> Path:
        """The path without links; unlike `Path.resolve` it takes a link to itself."""
        return Path(os.path.realpath(self.path))


def check_outputs(outputs: Sequence[Output], clip: Path) -> None:
    """Refuse outputs that cannot be written, or that would destroy the clip or each other.

    Where each is to be, a temporary file is made and removed: what a folder's permissions say is
    not all that decides (`/proc`, a disk that is mounted to be read).

    Raises:
        UserError: names the path, the option, and what is in the way.
    """
    for a, b in combinations(outputs, 2):
        if a.real == b.real:
            raise UserError(f"{a.option} and {b.option} are both {a.path}", OWN_PLACE)
    for output in outputs:
        try:
            _check_form(output)
            _check_clip(output, clip)
            if not output.suffix and output.path.is_dir():
                _check_folder(output, clip)
            _check_place(output)
        except OSError as error:
            raise UserError(
                f"{output.path} cannot be written ({reason(error)})", OTHER_PLACE
            ) from None
    for one, other in permutations(outputs, 2):
        if other.real in one.real.parents:
            raise UserError(
                f"{one.option} {one.path} lies in {other.option} {other.path}", OWN_PLACE
            )


def _check_form(output: Output) -> None:
    path, option, suffix = output.path, output.option, output.suffix
    if not suffix:
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file", f"Name a folder for {option}")
        return
    if path.suffix.lower() != suffix:
        raise UserError(f"{path} is no {suffix}", f"Name the file of {option} something{suffix}")
    if path.is_dir():
        raise UserError(f"{path} is a folder", f"Name a file for {option}")


def _check_clip(output: Output, clip: Path) -> None:
    """Refuse what is the clip, lies in it, or has it in it."""
    whole, real = _identity(clip), output.real
    if whole is None:  # that no clip is there is told where it is opened
        return
    if _identity(real) == whole:
        what = "is the clip"
    elif whole in map(_identity, real.parents):
        what = "lies in the clip's folder"
    elif real in Path(os.path.realpath(clip)).parents:
        what = f"contains the clip {clip}"
    else:
        return
    raise UserError(f"{output.path} {what}, which {output.option} must not change", OTHER_PLACE)


def _check_folder(output: Output, clip: Path) -> None:
    """Refuse a folder that holds other files than masks of before, or that cannot be replaced."""
    path = output.real
    refuse_other_files(output.path)
    files = {_identity(file) for file in path.rglob("*.png")}
    if any(_identity(file) in files for file in _files_of(clip)):
        raise UserError(
            f"{output.path} holds files of the clip {clip}, which {output.option} must not change",
            OTHER_PLACE,
        )
    if os.path.ismount(path):
        raise UserError(f"{output.path} is a mounted disk", "Name a folder on it")
    for folder in (path, *(file for file in path.iterdir() if file.is_dir())):
        _try_writing(folder)


def _check_place(output: Output) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(output.path)  # a name that is too long
    place = (output.path if output.suffix else output.real).absolute().parent
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise UserError(f"{output.path} cannot be written: {place} is no folder", OTHER_PLACE)
    _try_writing(place)


def _try_writing(folder: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".part-"):
        pass


def _files_of(clip: Path) -> Iterator[Path]:
    yield clip
    if clip.is_dir():
        yield from clip.iterdir()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what is the same for all names of a file, hard links too; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
