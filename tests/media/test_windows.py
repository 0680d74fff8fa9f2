"""The published rules for windows."""

import pytest

from losh.media.windows import chunks, consecutive_windows, window_around


def test_the_annotated_frame_is_in_the_middle():
    assert window_around(10, 10, 100) == list(range(5, 15))
    assert window_around(10, 5, 100) == [8, 9, 10, 11, 12]
    for window in range(1, 12):
        assert window_around(50, window, 100)[window // 2] == 50


def test_windows_are_clamped_to_the_ends():
    assert window_around(1, 6, 100) == [0, 0, 0, 1, 2, 3]
    assert window_around(98, 6, 100) == [95, 96, 97, 98, 99, 99]


def test_the_last_window_is_shifted_back_and_a_short_video_repeats_its_last_frame():
    assert consecutive_windows(10, 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert consecutive_windows(8, 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert consecutive_windows(2, 4) == [[0, 1, 1, 1]]


@pytest.mark.parametrize(("frames", "size"), [(1, 24), (24, 24), (25, 24), (100, 7)])
def test_chunks_hold_each_frame_once_and_are_even(frames, size):
    pieces = chunks(frames, size)
    assert [t for piece in pieces for t in piece] == list(range(frames))
    assert max(map(len, pieces)) <= size and max(map(len, pieces)) - min(map(len, pieces)) <= 1
