"""What the demo's page takes: one line where a clip is too large, before or while it is read."""

from fractions import Fraction
from pathlib import Path

import pytest
from own_video.made_clips import picture, write_clip

from losh.demo.limits import LimitedClip, Limits
from losh.errors import UserError
from losh.own_video.video_file import VideoFile


def test_a_clip_within_the_limits_is_the_clip(clip: Path):
    limited, plain = Limits().open(clip), VideoFile(clip)
    assert [frame.pts for frame in limited.frames()] == [frame.pts for frame in plain.frames()]
    assert (limited.rate, limited.time_base, limited.sound) == (
        plain.rate,
        plain.time_base,
        plain.sound,
    )
    assert limited.name == "six.mp4"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(megabytes=0.001), "MB, and this page takes 0.001"),
        (Limits(seconds=0.1), "longer than 0.1 s"),
        (Limits(side=64), "80 x 64 pixels"),
    ],
)
def test_a_clip_beyond_a_limit_is_refused_from_its_header(clip: Path, limits: Limits, told: str):
    with pytest.raises(UserError, match=told) as error:
        limits.open(clip)
    assert "\n" not in str(error.value) and str(clip.parent) not in str(error.value)


def test_the_limit_is_where_it_says(clip: Path):
    """The last of six frames begins at 0.2 s."""
    assert sum(1 for _ in Limits(seconds=0.21).open(clip).frames()) == 6
    with pytest.raises(UserError, match="longer"):
        Limits(seconds=0.2).open(clip)


def test_a_clip_whose_header_is_silent_ends_at_the_limit(clip: Path):
    video = VideoFile(clip)
    video.count = None
    read = []
    with pytest.raises(UserError, match=r"longer than 0\.1 s"):
        read += LimitedClip(video, Limits(seconds=0.1)).frames()


def test_frames_are_counted_too(tmp_path: Path):
    """A rate of 1000 a second would hold thousands of frames in a short clip."""
    fast = tmp_path / "fast.mp4"
    write_clip(fast, [picture(32, 32, t) for t in range(8)], time_base=Fraction(1, 1000))
    video = VideoFile(fast)
    video.count = None
    with pytest.raises(UserError, match="or 6 frames"):
        list(LimitedClip(video, Limits(seconds=0.1)).frames())


def test_what_is_no_video_or_gone_is_one_line(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match="does not open as a video"):
        Limits().open(tmp_path / "text.mp4")
    with pytest.raises(UserError, match="no longer here"):
        Limits().open(tmp_path / "gone.mp4")


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_limit_is_a_number_above_0(value: float):
    for name, option in (("megabytes", "--max-megabytes"), ("seconds", "--max-seconds")):
        with pytest.raises(UserError, match=option):
            Limits(**{name: value})
