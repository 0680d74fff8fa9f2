"""Sizes keep the aspect; a resized flow stays in pixels of its own grid."""

import numpy as np
import pytest

from losh.media.resizing import network_size, resize_flow


def test_resizing_flow_keeps_it_in_pixels_of_its_own_grid():
    flow = np.ones((2, 8, 12), np.float32)
    resized = resize_flow(flow, (4, 3))
    assert resized.shape == (2, 4, 3)
    assert np.allclose(resized[0], 3 / 12) and np.allclose(resized[1], 4 / 8)


@pytest.mark.parametrize(
    ("size", "sides", "expected"),
    [
        ((240, 320), (320, 576), (320, 427)),
        ((100, 400), (320, 576), (144, 576)),
        ((96, 128), (96, 576), (96, 128)),
    ],
)
def test_network_size_keeps_the_aspect_within_both_sides(size, sides, expected):
    assert network_size(*size, *sides) == expected
