"""Sizes keep the aspect by the published rule; a resized flow stays in pixels of its own grid."""

import numpy as np
import pytest
from PIL import Image

from losh.media.resizing import InputSize, network_size, resize_flow, resize_frame


def test_resizing_flow_keeps_it_in_pixels_of_its_own_grid():
    flow = np.ones((2, 8, 12), np.float32)
    resized = resize_flow(flow, (4, 3))
    assert resized.shape == (2, 4, 3)
    assert np.allclose(resized[0], 3 / 12) and np.allclose(resized[1], 4 / 8)


@pytest.mark.parametrize(
    ("size", "sides", "expected"),
    [
        ((240, 320), (320, 576), (320, 426)),  # JHMDB: 426.67, truncated
        ((320, 722), (320, 576), (255, 575)),  # 255.29 rounded; 575.34 truncated
        ((720, 404), (360, 640), (639, 359)),  # upright: 359.11, then 639.80
        ((720, 1280), (360, 640), (360, 640)),
        ((100, 400), (320, 576), (144, 576)),
        ((96, 128), (96, 576), (96, 128)),  # MovingShapes stays as it is
        ((320, 427), (320, 576), (320, 427)),  # the right short side already: unchanged
        ((1, 5000), (96, 576), (1, 5000)),  # no side is 0
    ],
)
def test_network_size_keeps_the_aspect_by_the_published_rule(size, sides, expected):
    assert network_size(*size, *sides) == expected
    assert network_size(*size[::-1], *sides) == expected[::-1]


def fine_stripes() -> np.ndarray:
    """Columns of 0 and 255 by turns, 64 wide."""
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, ::2] = 255
    return frame


@pytest.mark.parametrize("resize_filter", ["area", "pil_bilinear"])
def test_both_filters_mean_over_what_a_shrunken_pixel_covers(resize_filter):
    small = resize_frame(fine_stripes(), (16, 32), resize_filter)
    assert small.shape == (16, 32, 3) and small.dtype == np.uint8
    # Without antialiasing every pixel would be 0 or 255.
    assert (np.abs(small[:, 2:-2].astype(int) - 127) <= 32).all()


def test_the_published_filter_is_pillows():
    frame = np.random.default_rng(0).integers(0, 255, (72, 128, 3), np.uint8)
    expected = np.asarray(Image.fromarray(frame).resize((64, 36), Image.Resampling.BILINEAR))
    published, ours = (resize_frame(frame, (36, 64), name) for name in ("pil_bilinear", "area"))
    assert (published == expected).all() and (ours != published).any()


def test_a_frame_of_the_right_size_is_untouched_by_either_filter():
    frame = fine_stripes()
    for name in ("area", "pil_bilinear"):
        assert resize_frame(frame, (32, 64), name) is frame


def test_a_model_file_says_how_its_frames_were_resized():
    config = {"short_side": 320, "long_side": 576}
    assert InputSize.of_config(config) == InputSize(320, 576, "area")
    published = InputSize.of_config({**config, "resize_filter": "pil_bilinear"})
    frame = np.random.default_rng(0).integers(0, 255, (640, 900, 3), np.uint8)
    size = published.size_of(640, 900)
    assert size == (320, 450)
    assert (published.resize(frame, size) == resize_frame(frame, size, "pil_bilinear")).all()
