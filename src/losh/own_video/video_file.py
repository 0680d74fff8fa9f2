"""A video file as a clip: upright, with square pixels, each frame with its time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from losh.errors import UserError, reason
from losh.media.decoding import CUT_SHORT
from losh.media.upright import display_matrix, upright
from losh.own_video.clip_input import Frame

DEFAULT_RATE = Fraction(25)
"""Where a file does not tell (a bare H.264 stream)."""


class VideoFile:
    """The first video stream of a file."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            UserError: the file does not open as a video.
        """
        try:
            with av.open(str(path), metadata_errors="ignore") as container:
                if not container.streams.video:
                    raise UserError(f"{path} holds no picture", "Give a video file")
                stream = container.streams.video[0]
                self.rate = Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_RATE)
                self.time_base = Fraction(stream.time_base or 1 / self.rate)
                self.start = Fraction(container.start_time or 0, av.time_base)
                self.sound = path if container.streams.audio else None
                self.count = stream.frames or _estimate(stream, container, self.rate)
                self.exact = bool(stream.frames)
                # As stored: neither turned nor made square.
                self.size = (stream.height, stream.width)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise UserError(
                f"{path} does not open as a video ({reason(error)})",
                "Give a video file that ffmpeg plays, or a folder of images",
            ) from None
        self.path, self.name, self.notes = path, str(path), list[str]()

    def frames(self) -> Iterator[Frame]:
        """See Clip. Where the file is damaged it ends, and `notes` says so.

        Raises:
            UserError: no frame decodes, or the picture's size changes on the way.
        """
        count, size = 0, None
        for frame in self._decoded():
            if size not in (None, frame.image.shape):
                raise UserError(
                    f"{self.path} changes its picture's size at frame {count + 1}",
                    "Bring it to one size first: ffmpeg -i IN -vf scale=1280:720 OUT.mp4",
                )
            size = frame.image.shape
            count += 1
            yield frame
        if count == 0:
            raise UserError(
                f"{self.path} holds no frame that decodes",
                "Give a video file that ffmpeg plays, or a folder of images",
            )
        if not self.notes and self.exact and count < CUT_SHORT * (self.count or 0):
            self.notes.append(f"{self.path} ends early: {count} of {self.count} frames decode")

    def _decoded(self) -> Iterator[Frame]:
        last = -1
        try:
            with av.open(str(self.path), metadata_errors="ignore") as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                for t, frame in enumerate(container.decode(stream)):
                    if frame.is_corrupt:
                        self.notes.append(
                            f"{self.path} is damaged from frame {t + 1} on: cut there"
                        )
                        return
                    last = max(last + 1, self._time(frame, t))
                    yield Frame(_picture(frame, stream), last, int(frame.duration or 0))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if last >= 0:
                self.notes.append(
                    f"{self.path} is damaged after {_seconds(last * self.time_base)} "
                    f"({reason(error)}): cut there"
                )

    def _time(self, frame: av.VideoFrame, t: int) -> int:
        """Return the frame's time from the clip's start; by its place where the file has none."""
        if frame.pts is None:
            return round(t / self.rate / self.time_base)
        return frame.pts - round(self.start / self.time_base)


def _estimate(
    stream: av.VideoStream, container: av.container.InputContainer, rate: Fraction
) -> int | None:
    """Return about how many frames there are, from the duration."""
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    return round(Fraction(container.duration, av.time_base) * rate) if container.duration else None


def _picture(frame: av.VideoFrame, stream: av.VideoStream) -> np.ndarray:
    """Return a frame as people see it: uint8 [H, W, 3] RGB, upright, with square pixels."""
    aspect = stream.sample_aspect_ratio
    if aspect and aspect > 0 and aspect != 1:
        image = frame.to_ndarray(format="rgb24", width=max(1, round(frame.width * aspect)))
    else:
        image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(upright(image, display_matrix(frame)))


def _seconds(time: Fraction) -> str:
    return f"{float(time):.1f} s"
