"""A new video with a clip's times and sound.

H.264 in mp4, 4:2:0, even sides, so that it plays everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from losh.errors import UserError, reason
from losh.own_video.clip_input import Clip, Frame
from losh.own_video.sound import Sound
from losh.runtime.files import atomic_write

X264 = {"crf": "18", "preset": "veryfast", "bf": "0"}
"""Hardly to be told from the source, and fast: the network should be what takes the time. Without
B-frames the packets are in the order of their times, and the last one's duration ends the video.
"""


class VideoWriter:
    """Writes pictures with the times of the clip's frames; sound comes along.

    Attributes:
        notes: what there is to tell at the end, each one line.
    """

    def __init__(self, container: av.container.OutputContainer, clip: Clip) -> None:
        self.container, self.clip = container, clip
        self.stream = container.add_stream("libx264", rate=clip.rate, options=X264)
        context = self.stream.codec_context
        context.pix_fmt, context.time_base = "yuv420p", clip.time_base
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self.sound = Sound(clip, container) if clip.sound else None
        self.notes: list[str] = self.sound.notes if self.sound else []
        self.durations: dict[int, int] = {}

    def write(self, picture: np.ndarray, frame: Frame) -> None:
        """Write uint8 [H, W, 3] RGB in the frame's place; all pictures have one size."""
        picture = even(picture)
        if not self.stream.codec_context.is_open:
            self.stream.height, self.stream.width = picture.shape[:2]
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        image = image.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        image.pts, image.time_base = frame.pts, self.clip.time_base
        self.durations[frame.pts] = frame.duration
        self._mux(self.stream.encode(image))
        if self.sound:
            self.sound.write_until(frame.pts * self.clip.time_base)

    def finish(self) -> None:
        """Write what the encoder still holds, and the rest of the sound."""
        self._mux(self.stream.encode(None))
        if self.sound:
            self.sound.write_until(None)

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            # The last frame's duration is in no other frame's time; where the file does not tell,
            # it is that of a frame at the mean rate.
            told = self.durations.pop(packet.pts or 0, 0)
            packet.duration = told or max(1, round(1 / self.clip.rate / self.clip.time_base))
            self.container.mux(packet)


@contextmanager
def video_writer(path: Path, clip: Clip) -> Iterator[VideoWriter]:
    """Yield a writer; `path` appears, whole, when the block ends well.

    Raises:
        UserError: it cannot be written there.
    """
    with ExitStack() as stack:
        part = stack.enter_context(atomic_write(path))
        options = {"movflags": "+faststart"}
        container = stack.enter_context(av.open(str(part), "w", format="mp4", options=options))
        writer = VideoWriter(container, clip)
        if writer.sound:
            stack.callback(writer.sound.close)
        yield writer
        try:
            writer.finish()
            container.close()
        except av.error.FFmpegError as error:
            raise UserError(f"{path} cannot be written ({reason(error)})") from None


def even(picture: np.ndarray) -> np.ndarray:
    """Repeat the last row and column of an odd side: 4:2:0 halves both."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return picture
