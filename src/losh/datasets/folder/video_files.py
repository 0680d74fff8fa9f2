"""The videos of a user's folder: files that PyAV opens, or folders of frames in natural order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from losh.datasets.folder.faults import Fault, as_fault
from losh.errors import UserError
from losh.media.decoding import decode_image, decode_video, read_bytes, read_image
from losh.media.natural_order import natural

VIDEOS = "videos"
IMAGES = (".jpg", ".jpeg", ".png")


def visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, in natural order; empty where there is none.

    Hidden ones (.) are left out.
    """
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found, key=lambda path: natural(path.name))


def list_media(root: Path) -> dict[str, list[str]]:
    """Return video -> its places relative to `root`; more than one place is a fault of the user's.

    A video is called by its folder's name, or by its file's without the suffix.
    """
    found: dict[str, list[str]] = {}
    for path in visible(root / VIDEOS):
        name = path.name if path.is_dir() else path.stem
        found.setdefault(name, []).append(f"{VIDEOS}/{path.name}")
    return found


def frame_files(path: Path) -> list[str]:
    """Return the names of the frames in a folder, in natural order; empty for a video file."""
    if not path.is_dir():
        return []
    return [one.name for one in visible(path) if one.suffix.lower() in IMAGES]


def read_frames(path: Path, names: list[str]) -> Iterator[tuple[bytes | np.ndarray, str]]:
    """Yield the frames of a video in order, each with its file's name for errors.

    JPEGs come as bytes, as they are; all others decoded, uint8 [H, W, 3] RGB, upright.

    Raises:
        UserError: a file is missing or does not decode.
    """
    if not names:
        for t, frame in enumerate(decode_video(path, as_shown=True)):
            yield frame, f"{path}, frame {t}"
    for name in names:
        file = path / name
        yield read_image(file) if file.suffix.lower() == ".png" else read_bytes(file), str(file)


@dataclass(frozen=True)
class Measured:
    """A video that decodes from its first frame to its last."""

    frames: int
    height: int
    width: int


def measure(root: Path, place: str, names: list[str]) -> tuple[Measured | None, list[Fault]]:
    """Decode a whole video: its length and size, or why it cannot be used."""
    path = root / place
    if path.is_dir():
        if not names:
            return None, [Fault(place, 0, "holds no .jpg or .png frame")]
        stems = Counter(PurePosixPath(name).stem for name in names)
        twice = [stem for stem, times in stems.items() if times > 1]
        if twice:
            return None, [Fault(place, 0, f"holds two frames called {twice[0]}")]
    count, size = 0, (0, 0)
    try:
        for count, (frame, name) in enumerate(read_frames(path, names), start=1):
            picture = decode_image(frame, name) if isinstance(frame, bytes) else frame
            height, width = picture.shape[:2]
            if count == 1:
                size = (height, width)
            elif (height, width) != size:
                what = f"is {width} x {height}, but the first frame is {size[1]} x {size[0]}"
                file = f"{place}/{names[count - 1]}" if names else place
                return None, [Fault(file, 0, what if names else f"frame {count - 1} {what}")]
    except UserError as error:
        broken = [f"{place}/{name}" for name in names if error.what.startswith(f"{path / name} ")]
        return None, [as_fault(error, root, broken[0] if broken else place)]
    return Measured(count, *size), []
