"""A clip's sound beside its new picture.

It is the same packets, or AAC where mp4 players could not play them.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.resampler import AudioResampler

from losh.errors import reason
from losh.own_video.clip_input import Clip

COPIED = ("aac", "mp3")
"""What every player and browser plays in mp4; all else becomes AAC."""


class Sound:
    """The first sound track of a clip's file, written bit by bit as the picture goes on.

    Damage in it ends the sound, not the work: `notes` says so.
    """

    def __init__(self, clip: Clip, out: av.container.OutputContainer) -> None:
        """Add the stream to `out`; the clip must have a sound."""
        self.source = av.open(str(clip.sound), metadata_errors="ignore")
        stream = self.source.streams.audio[0]
        self.start, self.notes = clip.start, list[str]()
        self.out = out
        if stream.codec_context.name in COPIED:
            self.made: av.AudioStream = out.add_stream_from_template(stream)
            packets = self._copied(stream)
        else:
            self.made = out.add_stream("aac", rate=stream.codec_context.sample_rate)
            self.made.codec_context.layout = (
                "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
            )
            packets = self._encoded(stream)
        self.packets: Iterator[tuple[Fraction, av.Packet]] = self._whole(packets)
        self.next: tuple[Fraction, av.Packet] | None = None

    def write_until(self, time: Fraction | None) -> None:
        """Write what is heard until `time` in seconds; None: all the rest."""
        while True:
            if self.next is None:
                self.next = next(self.packets, None)
            if self.next is None or (time is not None and self.next[0] > time):
                return
            try:
                self.out.mux(self.next[1])
            except ValueError as error:  # such as times that go back; a full disk is an OSError
                self.notes.append(f"the sound is damaged ({reason(error)}): it ends early")
                self.packets = iter(())
            self.next = None

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def _whole(
        self, packets: Iterator[tuple[Fraction, av.Packet]]
    ) -> Iterator[tuple[Fraction, av.Packet]]:
        try:
            yield from packets
        except (av.error.FFmpegError, ValueError) as error:
            self.notes.append(f"the sound is damaged ({reason(error)}): it ends early")

    def _copied(self, stream: av.AudioStream) -> Iterator[tuple[Fraction, av.Packet]]:
        for packet in self.source.demux(stream):
            if packet.dts is None or packet.time_base is None:
                continue  # the empty one at the end
            shift = round(self.start / packet.time_base)
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            time = packet.dts * packet.time_base
            packet.stream = self.made
            yield time, packet

    def _encoded(self, stream: av.AudioStream) -> Iterator[tuple[Fraction, av.Packet]]:
        context = self.made.codec_context
        resampler = AudioResampler(context.format or "fltp", context.layout, context.sample_rate)
        base = Fraction(1, context.sample_rate)
        for frame in self.source.decode(stream):
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= round(self.start / frame.time_base)
            for part in resampler.resample(frame):
                yield from self._timed(self.made.encode(part), base)
        for part in resampler.resample(None):
            yield from self._timed(self.made.encode(part), base)
        yield from self._timed(self.made.encode(None), base)

    @staticmethod
    def _timed(packets: list[av.Packet], base: Fraction) -> Iterator[tuple[Fraction, av.Packet]]:
        for packet in packets:
            yield (packet.dts or 0) * (packet.time_base or base), packet
