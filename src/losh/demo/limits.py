"""How large a clip the page takes; nothing slow is imported here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from losh.errors import UserError

if TYPE_CHECKING:
    from losh.own_video.clip_input import Clip, Frame

MEGABYTE = 1_000_000
FASTEST = 60
"""Frames per second at which the longest clip may run: what bounds its number of frames (ours)."""


@dataclass(frozen=True)
class Limits:
    """What a clip may have at the most."""

    megabytes: float = 100
    """Of its file, 10^6 bytes each."""
    seconds: float = 30
    side: int = 3840
    """Longest side of its picture, pixels: what one frame may take of memory."""

    def __post_init__(self) -> None:
        for option, value in (
            ("--max-megabytes", self.megabytes),
            ("--max-seconds", self.seconds),
            ("--max-side", self.side),
        ):
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{option} is {value:g}", "Give a number above 0")

    @property
    def size(self) -> int:
        """Bytes of the largest file."""
        return round(self.megabytes * MEGABYTE)

    @property
    def frames(self) -> int:
        """The most frames."""
        return math.ceil(self.seconds * FASTEST)

    def __str__(self) -> str:
        return f"{self.megabytes:g} MB, {self.seconds:g} s, {self.side} px on the longer side"

    def open(self, path: Path) -> Clip:
        """Open a clip that is within the limits; what its header does not tell is seen on the way.

        Raises:
            UserError: it is too large, or does not open.
        """
        from losh.own_video.video_file import VideoFile

        if not path.is_file():
            raise UserError("the clip is no longer here", "Upload it again")
        if path.stat().st_size > self.size:
            found = path.stat().st_size / MEGABYTE
            raise UserError(
                f"the file has {found:.1f} MB, and this page takes {self.megabytes:g}",
                "Take a shorter clip, or start with --max-megabytes",
            )
        clip = VideoFile(path)
        if max(clip.size) > self.side:
            height, width = clip.size
            raise UserError(
                f"the picture has {width} x {height} pixels, and this page takes {self.side} on "
                "the longer side",
                "Make it smaller, or start with --max-side",
            )
        if clip.count is not None:
            self.check_length(clip.count - 1, (clip.count - 1) / clip.rate)
        return LimitedClip(clip, self)

    def check_length(self, frame: int, time: Fraction) -> None:
        """Refuse a clip in which this frame, counted from 0, begins at this time in seconds.

        Raises:
            UserError: it is beyond the limits.
        """
        if float(time) >= self.seconds or frame >= self.frames:
            raise UserError(
                f"the clip is longer than {self.seconds:g} s or {self.frames} frames, which this "
                "page takes",
                "Cut a part out, or start with --max-seconds",
            )


class LimitedClip:
    """A clip whose frames end with an error where they go beyond the limits."""

    def __init__(self, clip: Clip, limits: Limits) -> None:
        self.clip, self.limits = clip, limits
        # The folder is the server's own business.
        self.name, self.count, self.notes = Path(clip.name).name, clip.count, clip.notes
        self.time_base, self.rate = clip.time_base, clip.rate
        self.sound, self.start = clip.sound, clip.start

    def frames(self) -> Iterator[Frame]:
        """See Clip.

        Raises:
            UserError: the clip goes on beyond the limits.
        """
        for t, frame in enumerate(self.clip.frames()):
            self.limits.check_length(t, frame.pts * self.time_base)
            yield frame
