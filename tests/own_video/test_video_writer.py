"""What is written plays everywhere, with the clip's times and sound."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from own_video.made_clips import frames_of, loudness, picture, write_clip

from losh.own_video.clip_input import ArrayClip, open_clip
from losh.own_video.fonts import bundled_font, letters_of
from losh.own_video.legend import COLOURS, colour_of, legend, wrapped
from losh.own_video.video_writer import video_writer
from losh.runtime.read_ahead import read_ahead


def rewrite(source: Path, out: Path) -> list[str]:
    clip = open_clip(source)
    with video_writer(out, clip) as writer:
        for frame in clip.frames():
            writer.write(frame.image, frame)
    return writer.notes


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_times_and_sound_stay(tmp_path, codec):
    times = [0, 40, 45, 200, 210, 900]
    pictures = [picture(32, 48, t) for t in range(6)]
    source = write_clip(tmp_path / "in.mkv", pictures, times, Fraction(1, 1000), codec)
    assert rewrite(source, tmp_path / "out.mp4") == []
    found = frames_of(tmp_path / "out.mp4")
    assert [time for time, _ in found] == [Fraction(t, 1000) for t in times]
    name, seconds, strength = loudness(tmp_path / "out.mp4")
    assert name == "aac" and seconds == pytest.approx(0.901, abs=0.06) and strength > 0.1
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration / 1e6 == pytest.approx(0.94, abs=0.05)


def test_sound_that_mp4_takes_is_copied_packet_by_packet(tmp_path):
    source = write_clip(tmp_path / "in.mp4", [picture(32, 48, t) for t in range(25)], sound="aac")
    rewrite(source, tmp_path / "out.mp4")

    def packets(path: Path) -> list[tuple[float, bytes]]:
        with av.open(str(path)) as container:
            return [
                (round(float(packet.pts * packet.time_base), 4), bytes(packet))
                for packet in container.demux(audio=0)
                if packet.pts is not None
            ]

    assert packets(tmp_path / "out.mp4") == packets(source) != []


def test_any_player_shows_it(tmp_path):
    clip = ArrayClip(np.stack([picture(33, 47, t) for t in range(4)]), 12.5)
    with video_writer(tmp_path / "out.mp4", clip) as writer:
        for frame in clip.frames():
            writer.write(frame.image, frame)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.pix_fmt == "yuv420p"
        assert (stream.height, stream.width) == (34, 48) and stream.average_rate == Fraction(25, 2)
        assert float(stream.duration * stream.time_base) == pytest.approx(4 / 12.5)
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # it begins to play before it is all there
    shown, stored = frames_of(tmp_path / "out.mp4")[0][1], picture(33, 47, 0)
    for place in ((4, 4), (4, 40), (30, 2)):  # red, blue, the green bar
        assert np.abs(shown[place].astype(int) - stored[place]).max() < 16


def test_nothing_stays_of_a_video_that_was_not_finished(tmp_path):
    source = write_clip(tmp_path / "in.mp4", [picture(32, 48, t) for t in range(5)], sound="aac")
    before = set(tmp_path.iterdir())
    clip = open_clip(source)
    with pytest.raises(KeyboardInterrupt), video_writer(tmp_path / "out.mp4", clip) as writer:
        for frame in clip.frames():
            writer.write(frame.image, frame)
        raise KeyboardInterrupt
    assert set(tmp_path.iterdir()) == before


def test_the_bundled_font_has_what_it_is_taken_for_unseen():
    assert set(range(ord("!"), ord("~") + 1)) <= letters_of(bundled_font())


def test_the_legend_wraps_and_names_what_it_cannot_write():
    strip, notes = legend(["the red car", "a very long sentence " * 9], 160, 120)
    assert strip.shape[1] == 160 and notes == []
    reds = (strip == (255, 64, 64)).all(2)
    blues = (strip == (64, 160, 255)).all(2)
    assert reds.any() and blues.any() and reds.nonzero()[0].max() < blues.nonzero()[0].min()
    # Letters of no font at all: a private one.
    _, notes = legend(["\U0010fffd car"], 160, 120)
    assert len(notes) == 1 and "fonts-noto" in notes[0]


def test_each_sentence_has_a_colour_of_its_own():
    colours = [colour_of(i) for i in range(116)]
    assert len(set(colours)) == 116 and tuple(colours[: len(COLOURS)]) == COLOURS
    lab = cv2.cvtColor(np.array([colours], np.float32) / 255, cv2.COLOR_RGB2LAB)[0, :24]
    apart = np.linalg.norm(lab[:, None] - lab, axis=2)[~np.eye(24, dtype=bool)]
    assert apart.min() > 25  # the first eight: 38


def test_lines_fit_and_long_words_are_cut():
    class Font:
        def getlength(self, text: str) -> int:
            return len(text)

    assert wrapped("one two three", Font(), 7) == ["one two", "three"]
    assert wrapped("abcdefghij kl", Font(), 4) == ["abcd", "efgh", "ij", "kl"]
    assert wrapped("a " * 30, Font(), 3)[-1].endswith("…")


def test_reading_ahead_hands_errors_on_and_ends_its_thread():
    def numbers():
        yield 1
        raise ValueError("here")

    ahead = read_ahead(numbers(), 2)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="here"):
        next(ahead)
    endless = read_ahead(iter(int, 1), 2)
    next(endless)
    endless.close()
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())
