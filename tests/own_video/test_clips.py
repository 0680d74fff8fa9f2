"""Reading a person's clips: upright, in natural order, each frame with its time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from own_video.made_clips import TURNS, picture, turn, write_clip
from PIL import Image

from losh.errors import UserError
from losh.media.decoding import decode_video
from losh.media.upright import upright
from losh.own_video.clip_input import ArrayClip, open_clip, rate_of
from losh.own_video.video_writer import video_writer


def read(path: Path) -> list[np.ndarray]:
    return [frame.image for frame in open_clip(path).frames()]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_phone_clip_is_read_upright(tmp_path, degrees):
    shown = picture(64, 96, 0)
    stored = np.ascontiguousarray(np.rot90(shown, degrees // 90))
    path = turn(write_clip(tmp_path / "phone.mp4", [stored] * 3), degrees)
    for image in read(path):
        assert image.shape == shown.shape
        assert np.abs(image.astype(int) - shown).mean() < 12  # 4:2:0 blurs colours' edges
    for image, same in zip(read(path), decode_video(path, as_shown=True), strict=True):
        assert np.array_equal(image, same)  # what a dataset of one's own reads


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_mirrored_picture_is_mirrored_back(degrees):
    """What the matrix says, pixel by pixel, of a turn and a front camera's mirror together."""
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    a, b, _, c, d, _ = TURNS[degrees]
    matrix = np.array([-a, b, 0, -c, d, 0, 0, 0, 1], np.int32)  # x' -> -x'
    found = upright(image, matrix)
    assert np.array_equal(found, np.rot90(image, -degrees // 90)[:, ::-1])


def test_a_clips_own_times_are_kept(tmp_path):
    times = [0, 40, 45, 200, 210]
    path = write_clip(
        tmp_path / "variable.mkv", [picture(32, 48, t) for t in range(5)], times, Fraction(1, 1000)
    )
    clip = open_clip(path)
    found = [frame.pts * clip.time_base for frame in clip.frames()]
    assert found == [Fraction(t, 1000) for t in times]


def test_pixels_that_are_no_squares_are_made_square(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        frame = av.VideoFrame.from_ndarray(picture(32, 48, 0), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert [image.shape for image in read(path)] == [(32, 64, 3)]


def test_images_come_in_natural_order(tmp_path):
    for t in (0, 1, 2, 10, 11):
        cv2.imwrite(str(tmp_path / f"{t}.png"), np.full((32, 32, 3), 10 * t, np.uint8))
    (tmp_path / "._0.png").write_bytes(b"what a Mac leaves")
    assert [int(image[0, 0, 0]) for image in read(tmp_path)] == [0, 10, 20, 100, 110]


def test_an_image_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(picture(32, 48, 0)).save(tmp_path / "0.jpg", exif=exif, quality=95)
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((48, 32, 3), np.uint8))
    found = read(tmp_path)
    assert [image.shape for image in found] == [(48, 32, 3)] * 2
    assert found[0][0, -1, 0] > 180 and found[0][0, 0, 0] < 60  # the red quarter, on the right now


def test_images_of_several_sizes_are_refused_before_any_work(tmp_path):
    for t, size in enumerate([(32, 48), (31, 48), (40, 48)]):
        cv2.imwrite(str(tmp_path / f"{t}.png"), np.zeros((*size, 3), np.uint8))
    with pytest.raises(UserError, match=r"2\.png is 48 x 40, but 0\.png is 48 x 32"):
        open_clip(tmp_path)
    (tmp_path / "2.png").unlink()
    assert [image.shape[0] for image in read(tmp_path)] == [32, 31]


def test_a_damaged_end_is_cut_and_told(tmp_path):
    random = np.random.default_rng(0)
    clip = ArrayClip(random.integers(0, 255, (30, 64, 64, 3), np.uint8), 25)
    with video_writer(tmp_path / "whole.mp4", clip) as writer:
        for frame in clip.frames():
            writer.write(frame.image, frame)
    data = (tmp_path / "whole.mp4").read_bytes()
    middle = len(data) // 2
    damages = {
        "cut.mp4": data[:middle],
        "holed.mp4": data[:middle] + bytes(3000) + data[middle + 3000 :],
    }
    for name, damaged in damages.items():
        path = tmp_path / name
        path.write_bytes(damaged)
        found = open_clip(path)
        assert 0 < len(list(found.frames())) < 30, name
        assert len(found.notes) == 1 and name in found.notes[0], name
        assert "published" not in found.notes[0]


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_no_video_is_one_line_about_that_file(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.mp4 does not open as a video") as error:
        open_clip(path)
    assert "published" not in str(error.value)


def test_arrays_are_checked():
    with pytest.raises(UserError, match=r"float64 \[2, 8, 8, 3\]"):
        ArrayClip(np.zeros((2, 8, 8, 3)))
    with pytest.raises(UserError, match=r"uint8 \[8, 8, 3\]"):
        ArrayClip(np.zeros((8, 8, 3), np.uint8))
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="--rate is"):
            rate_of(rate)
