"""Clips as phones and cameras write them, made with PyAV."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TURNS = {  # a b u c d v of the display matrix, which shows the stored picture turned clockwise
    0: (1, 0, 0, 0, 1, 0),
    90: (0, 1, 0, -1, 0, 0),
    180: (-1, 0, 0, 0, -1, 0),
    270: (0, -1, 0, 1, 0, 0),
}
SAMPLE_RATE = 44100


def picture(height: int, width: int, t: int) -> np.ndarray:
    """A picture whose upper left quarter is red, the rest blue, with a green bar that moves."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = 200
    image[: height // 2, : width // 2] = (220, 20, 20)
    left = (8 * t) % (width - 8)
    image[-height // 4 :, left : left + 8] = (20, 220, 20)
    return image


def write_clip(
    path: Path,
    pictures: list[np.ndarray],
    times: list[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    sound: str | None = None,
    codec: str = "libx264",
) -> Path:
    """Write pictures with these times (None: one a unit); `sound` is the audio codec's name of a
    tone as long as the clip.
    """
    times = list(range(len(pictures))) if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = time_base
        tone = container.add_stream(sound, rate=SAMPLE_RATE) if sound else None
        for image, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            write_tone(container, tone, float((times[-1] + 1) * time_base))
    return path


def write_tone(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float):
    """Write a tone of 440 Hz."""
    samples = np.sin(2 * np.pi * 440 * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)
    size = stream.codec_context.frame_size or 1024
    for first in range(0, len(samples), size):
        part = (samples[first : first + size] * 20000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, first
        frame.time_base = Fraction(1, SAMPLE_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def turn(path: Path, degrees: int) -> Path:
    """Set an mp4's display matrix, in its video track's header, as a phone held upright does."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4
    place += 40 if data[place] == 0 else 52  # of version 0 or 1
    a, b, u, c, d, v = TURNS[degrees]
    numbers = (a << 16, b << 16, u, c << 16, d << 16, v, 0, 0, 1 << 30)
    data[place : place + 36] = struct.pack(">9i", *numbers)
    path.write_bytes(data)
    return path


def frames_of(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    """A video's frames with their times in seconds, as stored."""
    with av.open(str(path)) as container:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]


def loudness(path: Path) -> tuple[str, float, float]:
    """A video's audio codec, its seconds, and the mean strength of its samples in 0 to 1."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        whole = np.concatenate([frame.to_ndarray().astype(float).ravel() for frame in frames])
        scale = 1 if stream.codec_context.format.name.startswith("flt") else 32768
        name, rate = stream.codec_context.name, stream.codec_context.sample_rate
    return name, sum(frame.samples for frame in frames) / rate, float(np.abs(whole).mean() / scale)
