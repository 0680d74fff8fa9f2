"""A clip of a person's own: frames with their times.

They come from a video file, a folder of images or an array, one after the other, so that memory
does not grow with the length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from losh.errors import UserError

FOLDER_RATE = 10.0
"""Frames per second of a folder of images where nobody says another number."""


@dataclass(frozen=True)
class Frame:
    """One frame."""

    image: np.ndarray
    """uint8 [H, W, 3] RGB, upright, with square pixels."""
    pts: int
    """When it is shown, in the clip's `time_base` from the clip's start."""
    duration: int
    """For how long, in the same unit; 0: until the next."""


class Clip(Protocol):
    """What can be masked."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def count(self) -> int | None:
        """About how many frames there are; None: nobody knows before the end."""

    @property
    def time_base(self) -> Fraction:
        """Seconds of one unit of `Frame.pts`."""

    @property
    def rate(self) -> Fraction:
        """Frames per second, the mean where the clip has no fixed rate."""

    @property
    def sound(self) -> Path | None:
        """The file that holds its sound."""

    @property
    def start(self) -> Fraction:
        """Seconds of that file's clock at which the clip's own begins."""

    @property
    def notes(self) -> list[str]:
        """What the reader has to tell, each one line; complete once all frames are read."""

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in order."""


class ArrayClip:
    """Frames that a program has in memory."""

    name, sound = "the array", None

    def __init__(self, frames: np.ndarray, rate: float = FOLDER_RATE) -> None:
        """Take frames.

        Args:
            frames: uint8 [T, H, W, 3] RGB.

        Raises:
            UserError: another shape or type.
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise UserError(
                f"the frames are {frames.dtype} {list(frames.shape)}",
                "Give uint8 [T, H, W, 3] in RGB (a float array in 0 to 1: multiply by 255 first)",
            )
        if 0 in frames.shape:
            raise UserError(f"the frames are {list(frames.shape)}", "Give at least one frame")
        self.array, self.count = frames, len(frames)
        self.rate, self.start, self.notes = rate_of(rate), Fraction(0), list[str]()
        self.time_base = 1 / self.rate

    def frames(self) -> Iterator[Frame]:
        """See Clip."""
        for t, image in enumerate(self.array):
            yield Frame(np.ascontiguousarray(image), t, 1)


def rate_of(rate: float) -> Fraction:
    """Frames per second as a fraction that containers take.

    Raises:
        UserError: it is no positive number.
    """
    if not (math.isfinite(rate) and 0.01 <= rate <= 1000):
        raise UserError(f"--rate is {rate:g}", "Give frames per second, 0.01 to 1000")
    return Fraction(rate).limit_denominator(1001)


def open_clip(path: Path, rate: float | None = None) -> Clip:
    """Open a video file, or a folder of images in natural order.

    Args:
        rate: frames per second of a folder; None: FOLDER_RATE. A video has its own.

    Raises:
        UserError: nothing is there, it does not open, or a video is given a rate.
    """
    from losh.own_video.image_folder import ImageFolder
    from losh.own_video.video_file import VideoFile

    chosen = rate_of(FOLDER_RATE if rate is None else rate)
    if not path.exists():
        raise UserError(f"{path} does not exist", "Give a video file, or a folder of images")
    if path.is_dir():
        return ImageFolder(path, chosen)
    if rate is not None:
        raise UserError(
            f"--rate is for a folder of images, and {path} is a file with a frame rate of its own",
            "Leave --rate out",
        )
    return VideoFile(path)
