"""Clips as mp4 files whose bytes depend on the frames alone."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

from losh.runtime.files import atomic_write

RATE = 12  # frames per second: slow enough to follow sixteen frames by eye
QUALITY = "10"  # x264's crf; lower is better
X264 = {
    "crf": QUALITY,
    "preset": "medium",
    "threads": "1",  # x264's choices depend on how many there are
    # its macroblock tree reads memory that nobody wrote where a row is no multiple of 8 macroblocks
    "x264-params": "mbtree=0",
    "flags": "+bitexact",
}


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write frames uint8 [T, H, W, 3] RGB as H.264 in mp4; H and W are even.

    4:2:0, so that every player and browser shows it.
    """
    with (
        atomic_write(path) as part,
        av.open(str(part), "w", format="mp4", options={"fflags": "+bitexact"}) as container,
    ):
        stream = container.add_stream("libx264", rate=RATE, options=X264)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = Colorspace.ITU601
        for rgb in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            container.mux(
                stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601))
            )
        container.mux(stream.encode())
